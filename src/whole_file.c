#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
static int open_target(dither_whole_file *file, const char *path)
{
    struct stat before;
    const int exists = stat(path, &before) == 0;
    if (exists && S_ISDIR(before.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    if ((exists && !S_ISREG(before.st_mode)) || strncmp(path, "/dev/", 5) == 0) return open(path, O_WRONLY | O_CLOEXEC);
    if (exists && access(path, W_OK) != 0) return -1;
    file->target = exists ? realpath(path, NULL) : strdup(path);
    const int descriptor = file->target ? create_beside(file->target, &file->temporary) : -1;
    if (descriptor >= 0 && exists) (void)!fchmod(descriptor, before.st_mode & 07777);
    return descriptor;
}

int dither_whole_file_open(dither_whole_file *file, const char *path)
{
    *file = (dither_whole_file){0};
    const int descriptor = open_target(file, path);
    if (descriptor >= 0 && (file->stream = fdopen(descriptor, "w"))) return 0;
    const int reason = errno ? errno : EIO;
    if (descriptor >= 0) close(descriptor);
    return reason;
}

int dither_whole_file_commit(dither_whole_file *file)
{
    errno = 0;
    int failed = fflush(file->stream) != 0 || ferror(file->stream) ||
                 (file->temporary && fsync(fileno(file->stream)) != 0);
    int reason = errno;
    if (fclose(file->stream) != 0 && !failed) failed = 1, reason = errno;
    file->stream = NULL;
    if (!failed && file->temporary && rename(file->temporary, file->target) != 0) failed = 1, reason = errno;
    if (failed) return reason ? reason : EIO;
    free(file->temporary);
    file->temporary = NULL;
    return 0;
}

void dither_whole_file_close(dither_whole_file *file)
{
    if (file->stream) fclose(file->stream);
    if (file->temporary) unlink(file->temporary);
    free(file->temporary);
    free(file->target);
    *file = (dither_whole_file){0};
}
