/* A file that appears whole or not at all: written under a temporary name in the same folder, flushed to the disk,
 * renamed. Depends on nothing else of the project: the library and the command are both compiled with it. */
#ifndef DITHER_WHOLE_FILE_H
#define DITHER_WHOLE_FILE_H

#include <stdio.h>

typedef struct dither_whole_file {
    FILE *stream;
    char *target;    /* with symbolic links followed; NULL for a device or a pipe, which is written directly */
    char *temporary; /* NULL as target is, and once renamed */
} dither_whole_file;

/* Each gives 0, or the errno that says why. A file that is there keeps its permissions; one that may not be written
 * is not replaced. After a failure, close. */
int dither_whole_file_open(dither_whole_file *file, const char *path);
/* Write out, flush to the disk, rename. */
int dither_whole_file_commit(dither_whole_file *file);
/* Removes what was not committed. Accepts a zeroed or a committed file. */
void dither_whole_file_close(dither_whole_file *file);

#endif
