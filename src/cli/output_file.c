/* A file that appears whole or not at all: written under a temporary name in the same folder, flushed to the disk,
 * renamed. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The temporary files of the open outputs, for the signal handler. */
enum { OPEN_MOST = 8 };
static const char *volatile open_names[OPEN_MOST];

static void remember_name(const char *before, const char *after)
{
    for (int i = 0; i < OPEN_MOST; i++) {
        if (open_names[i] != before) continue;
        open_names[i] = after;
        return;
    }
}

void cli_output_remove_all(void)
{
    for (int i = 0; i < OPEN_MOST; i++)
        if (open_names[i]) unlink(open_names[i]);
}

/* A new file in the folder of `target`, its name in *path. -1 with errno set. */
static int create_beside(const char *target, char **path)
{
    const char *slash = strrchr(target, '/');
    const int folder_n = slash ? (int)(slash - target) + 1 : 0;
    const size_t path_bytes = (size_t)folder_n + 64;
    char *name = malloc(path_bytes);
    int descriptor = -1;
    for (int attempt = 0; name && descriptor < 0 && attempt < 1000; attempt++) {
        snprintf(name, path_bytes, "%.*s.dither-%ld-%d.tmp", folder_n, target, (long)getpid(), attempt);
        descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST) break;
    }
    if (descriptor < 0) free(name);
    else *path = name;
    return descriptor;
}

/* A descriptor to write to, or -1 with errno set. */
static int open_target(cli_output *output, const char *path)
{
    struct stat before;
    const int exists = stat(path, &before) == 0;
    if (exists && S_ISDIR(before.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    if ((exists && !S_ISREG(before.st_mode)) || strncmp(path, "/dev/", 5) == 0) return open(path, O_WRONLY | O_CLOEXEC);
    if (exists && access(path, W_OK) != 0) return -1;
    output->target = exists ? realpath(path, NULL) : strdup(path);
    const int descriptor = output->target ? create_beside(output->target, &output->temporary) : -1;
    if (descriptor >= 0) remember_name(NULL, output->temporary);
    if (descriptor >= 0 && exists) (void)!fchmod(descriptor, before.st_mode & 07777);
    return descriptor;
}

dither_status cli_output_open(cli_output *output, const char *path, dither_error *error)
{
    *output = (cli_output){.path = path};
    const int descriptor = open_target(output, path);
    if (descriptor >= 0 && !(output->stream = fdopen(descriptor, "w"))) close(descriptor);
    return output->stream ? DITHER_OK : cli_output_failed(output, error);
}

dither_status cli_output_failed(const cli_output *output, dither_error *error)
{
    return cli_fail(error, DITHER_IO, "can't write '%s': %s", output->path, strerror(errno ? errno : EIO));
}

static void forget_temporary(cli_output *output)
{
    remember_name(output->temporary, NULL);
    free(output->temporary);
    output->temporary = NULL;
}

dither_status cli_output_commit(cli_output *output, dither_error *error)
{
    errno = 0;
    int failed = fflush(output->stream) != 0 || ferror(output->stream) ||
                 (output->temporary && fsync(fileno(output->stream)) != 0);
    int reason = errno;
    if (fclose(output->stream) != 0 && !failed) failed = 1, reason = errno;
    output->stream = NULL;
    if (!failed && output->temporary && rename(output->temporary, output->target) != 0) failed = 1, reason = errno;
    errno = reason;
    if (failed) return cli_output_failed(output, error);
    if (output->temporary) forget_temporary(output);
    return DITHER_OK;
}

void cli_output_close(cli_output *output)
{
    if (output->stream) fclose(output->stream);
    output->stream = NULL;
    if (output->temporary) {
        unlink(output->temporary);
        forget_temporary(output);
    }
    free(output->target);
    output->target = NULL;
}

dither_status cli_output_probe(const char *path, dither_error *error)
{
    cli_output output;
    const dither_status status = cli_output_open(&output, path, error);
    cli_output_close(&output);
    return status;
}
