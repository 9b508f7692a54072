/* Images and labels in IDX files. */
#include "theory.h"

#include <sys/stat.h>
#include <unistd.h>

/* A file of bytes with this type and these dimensions, `more` bytes too many. */
static void write_idx(const char *path, int type, int dimensions, const int *sizes, const unsigned char *values, int more)
{
    unsigned char header[64] = {0, 0, (unsigned char)type, (unsigned char)dimensions};
    long count = 1;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < dimensions; i++) {
        for (int b = 0; b < 4; b++) header[4 + 4 * i + b] = (unsigned char)((unsigned)sizes[i] >> (24 - 8 * b));
        count *= sizes[i];
    }
    fwrite(header, 1, 4 + 4 * (size_t)dimensions, file);
    fwrite(values, 1, (size_t)(count + more), file);
    fclose(file);
}

static const unsigned char pixels[] = {0, 255, 0, 51, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 9, 9}, digits[] = {7, 0, 7, 7, 7, 7};
static const int two_images[] = {2, 2, 3}, two[] = {2}, three[] = {3};

enum { FEATURES = 6 };

static dither_status read_as(const char *path, const char *options_text, dither_data **out, dither_error *error)
{
    dither_options *options = options_of("%s", options_text);
    const dither_status status = dither_data_read(path, options, out, error);
    dither_options_free(options);
    return status;
}

static void check_two(const char *path, const char *options, double scale)
{
    dither_data *data = NULL;
    dither_error error = {DITHER_OK, ""};
    if (read_as(path, options, &data, &error) != DITHER_OK) fail_msg("%s", error.message);
    assert_true(data->rows == 2 && data->features == FEATURES && data->nonzeros == 6);
    assert_true(data->row_start[0] == 0 && data->row_start[1] == 2 && data->row_start[2] == 6);
    const int column[] = {1, 3, 2, 3, 4, 5}, value[] = {255, 51, 1, 2, 3, 4};
    for (int e = 0; e < 6; e++) assert_true(data->column[e] == column[e] && data->value[e] == value[e] / scale);
    assert_true(data->label[0] == 7 && data->label[1] == 0);
    dither_data_free(data);
}

static void test_read(void **state)
{
    static const char images[] = "some-images-idx3-ubyte", labels[] = "some-labels-idx1-ubyte";
    (void)state;
    write_idx(images, 8, 3, two_images, pixels, 0);
    write_idx(labels, 8, 1, two, digits, 0);
    check_two(images, "", 255);
    check_two(images, "idx-scale=1", 1);
    assert_int_equal(rename(labels, "elsewhere"), 0);
    check_two(images, "idx-labels=elsewhere idx-scale=3", 3);
    /* the folder's name plays no part in finding the labels */
    mkdir("images-idx3", 0777);
    rename(images, "images-idx3/images"), rename("elsewhere", "images-idx3/labels");
    check_two("images-idx3/images", "", 255);
    /* two dimensions are rows and features */
    dither_data *data = NULL;
    write_idx("flat", 8, 2, (int[]){3, 4}, pixels, 0);
    write_idx("images-idx3/labels", 8, 1, three, digits, 0);
    assert_int_equal(read_as("flat", "idx-labels=images-idx3/labels features=9", &data, NULL), DITHER_OK);
    assert_true(data->rows == 3 && data->features == 9 && data->nonzeros == 6 && data->row_start[2] == 2);
    dither_data_free(data);
    unlink("images-idx3/images"), unlink("images-idx3/labels"), unlink("flat"), rmdir("images-idx3");
}

static void refuse(const char *path, const char *options, dither_status status, const char *words)
{
    dither_data *data = NULL;
    dither_error error = {DITHER_OK, ""};
    const dither_status found = read_as(path, options, &data, &error);
    if (found != status || !strstr(error.message, words)) fail_msg("%d, '%s': not %d, '%s'", found, error.message, status, words);
    assert_null(data);
}

static void test_refused(void **state)
{
    (void)state;
    write_idx("images", 8, 3, two_images, pixels, 0);
    refuse("images", "", DITHER_IO, "labels: the images' labels are not there");
    refuse("images", "idx-labels=nowhere", DITHER_IO, "nowhere");
    write_idx("labels", 8, 1, three, digits, 0);
    refuse("images", "", DITHER_BAD_DATA, "3 labels for 2 images");
    refuse("labels", "", DITHER_BAD_DATA, "dimension");
    write_idx("labels", 8, 1, two, digits, 1);
    refuse("images", "", DITHER_BAD_DATA, "it has 11");
    write_idx("labels", 8, 1, two, digits, -1);
    refuse("images", "", DITHER_BAD_DATA, "it has 9");
    write_idx("labels", 13, 1, two, digits, 0);
    refuse("images", "", DITHER_BAD_DATA, "0x0d");
    write_idx("labels", 8, 2, two_images, pixels, 0);
    refuse("images", "", DITHER_BAD_DATA, "labels have one");
    write_idx("labels", 8, 1, two, digits, 0);
    refuse("images", "features=5", DITHER_BAD_DATA, "--features is 5");
    write_idx("images", 8, 3, (int[]){0, 2, 3}, pixels, 0);
    refuse("images", "", DITHER_BAD_DATA, "at least");
    write_idx("images", 8, 3, (int[]){2, 0, 3}, pixels, 0);
    refuse("images", "", DITHER_BAD_DATA, "at least");
    write_idx("images", 8, 3, two_images, pixels, -3);
    refuse("images", "", DITHER_BAD_DATA, "28 bytes; it has 25");
    rename("images", "pictures");
    refuse("pictures", "", DITHER_BAD_DATA, "28 bytes");
    write_idx("pictures", 8, 3, two_images, pixels, 0);
    refuse("pictures", "", DITHER_USAGE, "--idx-labels");
    /* sizes whose product overflows, and headers cut short */
    FILE *file = fopen("pictures", "wb");
    for (int i = 0; i < 4 + 4 * 200; i++) fputc(i < 4 ? (int[]){0, 0, 8, 200}[i] : 255, file);
    fclose(file);
    refuse("pictures", "", DITHER_BAD_DATA, "values");
    for (int length = 4; length < 16; length++) {
        file = fopen("pictures", "wb");
        for (int i = 0; i < length; i++) fputc(i < 4 ? (int[]){0, 0, 8, 3}[i] : 0, file);
        fclose(file);
        refuse("pictures", "", DITHER_BAD_DATA, "header");
    }
    unlink("pictures"), unlink("labels");
}

int main(void)
{
    char folder[] = "test_idx.XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_refused)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (chdir("..") == 0) rmdir(folder);
    return failed;
}
