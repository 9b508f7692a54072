/* Model files: the same bits after a round trip, damaged files refused with their line, scores. Public header only. */
#include "dither.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/dither-model-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/model", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if a temporary file was left behind */
}

/* logistic, 5 features, labels 1 and 2 */
static double weights[5] = {0.1, 0, -1.0 / 3, 4.9e-324, -1.7976931348623157e308};
static double small_weights[5] = {1, 0, -2, 0, 0.5};
static double labels[2] = {1, 2};

static dither_result result_with(double *x)
{
    return (dither_result){.loss = "logistic", .features = 5, .outputs = 1, .x = x, .label_values = labels};
}

static void save(const dither_result *result)
{
    dither_error error;
    if (dither_model_save(result, path, &error) != DITHER_OK) fail_msg("%s", error.message);
}

static dither_model *load(void)
{
    dither_model *model;
    dither_error error;
    if (dither_model_load(path, &model, &error) != DITHER_OK) fail_msg("%s", error.message);
    return model;
}

/* The whole file as a string, freed by the caller. */
static char *read_text(size_t *bytes)
{
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    char *text = calloc(1, 100000);
    *bytes = fread(text, 1, 99999, stream);
    fclose(stream);
    return text;
}

static void write_text(const char *text, size_t bytes)
{
    FILE *stream = fopen(path, "w");
    assert_non_null(stream);
    fwrite(text, 1, bytes, stream);
    fclose(stream);
}

static void expect_bad(const char *words, const char *why)
{
    dither_model *model = (dither_model *)&model;
    dither_error error = {DITHER_OK, ""};
    const dither_status status = dither_model_load(path, &model, &error);
    if (status != DITHER_BAD_DATA || error.status != DITHER_BAD_DATA) fail_msg("%s: accepted (%d)", why, status);
    assert_null(model);
    if (!strstr(error.message, words)) fail_msg("%s: no '%s' in: %s", why, words, error.message);
    assert_int_equal(dither_model_load(path, &model, NULL), DITHER_BAD_DATA);
}

/* Rows that each have one entry, of value 1, so that the margin is one weight. */
static dither_data *unit_rows(int64_t rows, int64_t features, const int32_t *column, const double *label)
{
    dither_data *data;
    int64_t row_start[16];
    double value[16];
    for (int i = 0; i < 16; i++) row_start[i] = i, value[i] = 1;
    assert_int_equal(dither_data_from_csr(rows, features, row_start, column, value, label, &data, NULL), DITHER_OK);
    return data;
}

static void test_round_trip(void **state)
{
    (void)state;
    const dither_result result = result_with(weights);
    save(&result);
    size_t bytes, again_bytes;
    char *text = read_text(&bytes);
    assert_non_null(strstr(text, "weights 4\n"));
    dither_model *model = load();
    assert_int_equal(dither_model_features(model), 5);
    const double positive = labels[1];
    for (int32_t c = 0; c < 3; c++) {
        dither_score score;
        dither_data *data = unit_rows(1, 5, &c, &positive);
        assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
        assert_int_equal(score.accuracy == 1.0, weights[c] > 0);
        dither_data_free(data);
    }
    save(&result); /* over the old file */
    char *again = read_text(&again_bytes);
    assert_string_equal(text, again);
    free(text);
    free(again);
    dither_model_free(model);
    dither_model_free(NULL);
}

/* With least squares and label 0 the loss is w^2/2: every bit of the weights can be seen. */
static void test_exact_weights(void **state)
{
    (void)state;
    double x[5] = {0.1, 1.0 / 3, -2.0 / 7, 1e-30, 12345.678901234567}, zero = 0;
    const dither_result result = {.loss = "least-squares", .features = 5, .outputs = 1, .x = x};
    save(&result);
    dither_model *model = load();
    for (int32_t c = 0; c < 5; c++) {
        dither_score score;
        dither_data *data = unit_rows(1, 5, &c, &zero);
        assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
        assert_true(score.loss == 0.5 * (x[c] - 0.0) * (x[c] - 0.0));
        assert_true(score.accuracy != score.accuracy); /* regression */
        assert_int_equal(score.rows, 1);
        dither_data_free(data);
    }
    dither_model_free(model);
}

static void test_score(void **state)
{
    (void)state;
    const dither_result result = result_with(small_weights);
    save(&result);
    dither_model *model = load();
    const int32_t column[4] = {0, 2, 4, 1};
    const double label[4] = {2, 1, 1, 1}; /* right, right, wrong, and z = 0 counts as -1: right */
    dither_data *data = unit_rows(4, 5, column, label);
    dither_score score;
    assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
    assert_true(score.accuracy == 0.75);
    /* log(1 + e^-1), log(1 + e^-2), log(1 + e^0.5), log 2 */
    const double right = (0.31326168751822286 + 0.12692801104297263 + 0.97407698418010669 + 0.69314718055994531) / 4;
    assert_true(score.loss > right - 1e-15 && score.loss < right + 1e-15);
    dither_data_free(data);
    dither_model_free(model);
}

/* A model of normalized rows divides those that it scores by their norms: (3, 4) by 5. A row of zeros has margin 0. */
static void test_normalized(void **state)
{
    (void)state;
    dither_result result = result_with(small_weights);
    result.loss = "least-squares", result.label_values = NULL, result.normalized = 1;
    save(&result);
    dither_model *model = load();
    const int64_t row_start[3] = {0, 2, 2};
    const int32_t column[2] = {0, 2};
    const double value[2] = {3, 4}, label[2] = {0, 1}, margin = 3.0 / 5 * 1 + 4.0 / 5 * -2;
    dither_data *data;
    dither_score score;
    assert_int_equal(dither_data_from_csr(2, 5, row_start, column, value, label, &data, NULL), DITHER_OK);
    assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
    assert_true(score.loss == (0.5 * margin * margin + 0.5) / 2);
    dither_model_free(model);
    result.normalized = 0;
    save(&result);
    model = load();
    assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
    assert_true(score.loss == (0.5 * 25 + 0.5) / 2);
    dither_model_free(model);
    dither_data_free(data);
}

static void expect_score_refused(const dither_model *model, dither_data *data, const char *words)
{
    dither_score score;
    dither_error error = {DITHER_OK, ""};
    assert_int_equal(dither_model_score(model, data, &score, &error), DITHER_BAD_DATA);
    if (!strstr(error.message, words)) fail_msg("no '%s' in: %s", words, error.message);
    dither_data_free(data);
}

static void test_foreign_data(void **state)
{
    (void)state;
    const dither_result result = result_with(small_weights);
    save(&result);
    dither_model *model = load();
    const int32_t column[2] = {0, 6}, inside[2] = {0, 1};
    const double known[2] = {1, 2}, unknown[2] = {1, 0};
    expect_score_refused(model, unit_rows(2, 7, column, known), "row 2 has feature 7; the model has 5 features");
    expect_score_refused(model, unit_rows(2, 5, inside, unknown),
                         "row 2 has label 0; the model knows the labels 1 and 2");
    dither_score score;
    dither_data *wide = unit_rows(2, 100, inside, known); /* declared wider, but nothing is used beyond */
    assert_int_equal(dither_model_score(model, wide, &score, NULL), DITHER_OK);
    dither_data_free(wide);
    dither_data *narrow = unit_rows(1, 1, inside, known);
    assert_int_equal(dither_model_score(model, narrow, &score, NULL), DITHER_OK);
    dither_data_free(narrow);
    dither_model_free(model);
}

/* A model of one label against all the rest. */
static void test_rest_label(void **state)
{
    (void)state;
    double rest[2] = {__builtin_nan(""), 3};
    const dither_result result = {.loss = "smooth-hinge", .features = 5, .outputs = 1, .x = small_weights, .label_values = rest};
    save(&result);
    dither_model *model = load();
    const int32_t column[3] = {0, 2, 2};
    const double label[3] = {3, 7, -1};
    dither_data *data = unit_rows(3, 5, column, label);
    dither_score score;
    assert_int_equal(dither_model_score(model, data, &score, NULL), DITHER_OK);
    assert_true(score.accuracy == 1);
    dither_data_free(data);
    dither_model_free(model);
}

/* Cut after any number of bytes, the file is refused, and the message gives the line. */
static void test_truncated(void **state)
{
    (void)state;
    const dither_result result = result_with(small_weights);
    save(&result);
    size_t bytes;
    char *text = read_text(&bytes);
    int line = 1;
    for (size_t cut = 0; cut < bytes; cut++) {
        char place[96];
        if (cut > 0 && text[cut - 1] == '\n') line++;
        snprintf(place, sizeof place, "%s:%d: ", path, line);
        write_text(text, cut);
        expect_bad(place, place);
    }
    free(text);
}

/* Any one byte changed, the file is refused. */
static void test_changed_byte(void **state)
{
    (void)state;
    const dither_result result = result_with(small_weights);
    save(&result);
    size_t bytes;
    char *text = read_text(&bytes);
    for (size_t at = 0; at < bytes; at++) {
        static const char others[] = "0 \n~\0";
        for (size_t k = 0; k < sizeof others; k++) {
            const char before = text[at];
            if (others[k] == before) continue;
            text[at] = others[k];
            write_text(text, bytes);
            expect_bad(path, "one byte changed");
            text[at] = before;
        }
    }
    free(text);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } files[] = {
        {"", ":1: "},
        {"hello\n", "not a dither model"},
        {"dither-model 3\n", "format 3; this program reads formats 1 and 2"},
        {"dither-model 2\nloss logistic\nlabels 1 2\nfeatures 5\nweights 0\n", ":5: 'normalize' and a value"},
        {"dither-model 2\nloss logistic\nlabels 1 2\nfeatures 5\nnormalize columns\n", ":5: 'normalize rows'"},
        {"dither-model 1\nloss logistic\nlabels 1 2\nfeatures 5\nnormalize rows\n", ":5: 'weights' and a value"},
        {"dither-model 1\nloss cubic\n", ":2: unknown loss 'cubic'; the losses are least-squares|logistic"},
        {"dither-model 1\nlabels 1 2\n", ":2: 'loss' and a value"},
        {"dither-model 1\nloss logistic\nlabels none\n", ":3: the loss takes two labels"},
        {"dither-model 1\nloss logistic\nlabels 1\n", ":3: two labels"},
        {"dither-model 1\nloss logistic\nlabels 1 1\n", ":3: the two labels are the same"},
        {"dither-model 1\nloss logistic\nlabels 1 nan\n", ":3: label: 'nan'"},
        {"dither-model 1\nloss least-squares\nlabels 1 2\n", ":3: the loss takes no labels"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 0\n", ":4: features: 0 is out of range"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 99999999999\n", ":4: features"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2000000000\nweights 2000000000\n", ":6: "},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 3\n", ":5: weights: 3 is out of range"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 1\n3 1\n", ":6: feature index: 3"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 2\n2 1\n1 1\n", ":7: feature index: 1"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 1\n1 inf\n", ":6: weight: 'inf'"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 1\n1\n", ":6: an index and a weight"},
        {"dither-model 1\nloss least-squares\nlabels none\nfeatures 2\nweights 0\nchecksum 0\n", ":6: the lines above"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_text(files[i].text, strlen(files[i].text));
        expect_bad(files[i].words, files[i].text);
    }
    char *junk = malloc(100000);
    for (int i = 0; i < 100000; i++) junk[i] = (char)(i * 131);
    write_text(junk, 100000);
    expect_bad(":1: not a dither model", "junk");
    memset(junk, 0, 100000);
    write_text(junk, 100000);
    expect_bad(":1: not a dither model", "zeros");
    free(junk);
    const dither_result result = result_with(small_weights);
    save(&result);
    FILE *stream = fopen(path, "a");
    fputs("more\n", stream);
    fclose(stream);
    expect_bad("nothing may follow", "more");
}

static int entries_of(const char *name)
{
    DIR *listing = opendir(name);
    assert_non_null(listing);
    int count = 0;
    while (readdir(listing)) count++;
    closedir(listing);
    return count - 2;
}

static void test_whole_or_none(void **state)
{
    (void)state;
    dither_error error;
    double broken[5] = {1, 2, __builtin_nan(""), 4, 5};
    dither_result result = result_with(small_weights);
    save(&result);
    size_t bytes, bytes_after;
    char *before = read_text(&bytes);
    result.x = broken;
    assert_int_equal(dither_model_save(&result, path, &error), DITHER_DIVERGED);
    assert_non_null(strstr(error.message, "weight 3"));
    char *after = read_text(&bytes_after);
    assert_string_equal(before, after); /* the old model is still there */
    assert_int_equal(entries_of(folder), 1);
    free(before);
    free(after);
    result.x = small_weights;
    assert_int_equal(dither_model_save(&result, "/nonexistent/model", &error), DITHER_IO);
    assert_non_null(strstr(error.message, "/nonexistent/model"));
    assert_int_equal(dither_model_save(&result, folder, &error), DITHER_IO);
    if (access("/dev/full", W_OK) == 0) assert_int_equal(dither_model_save(&result, "/dev/full", &error), DITHER_IO);
    dither_model *model;
    assert_int_equal(dither_model_load("/nonexistent/model", &model, &error), DITHER_IO);
    assert_int_equal(dither_model_load(folder, &model, &error), DITHER_IO);
}

/* A symbolic link stays one; the file it names is replaced and keeps its permissions. */
static void test_link(void **state)
{
    (void)state;
    char link_path[80];
    struct stat info;
    snprintf(link_path, sizeof link_path, "%s/link", folder);
    const dither_result result = result_with(small_weights);
    write_text("old\n", 4);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("model", link_path), 0);
    assert_int_equal(dither_model_save(&result, link_path, NULL), DITHER_OK);
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    dither_model_free(load());
    unlink(link_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_exact_weights),
        cmocka_unit_test(test_score),        cmocka_unit_test(test_foreign_data),
        cmocka_unit_test(test_rest_label),   cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_changed_byte), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_whole_or_none), cmocka_unit_test(test_link),
        cmocka_unit_test(test_normalized),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
