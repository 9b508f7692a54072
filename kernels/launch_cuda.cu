#include "kernels.h"
extern "C" int dk_device_open_cuda(dk_device *out, int ordinal, const char **why)
{
    (void)out, (void)ordinal;
    *why = "x";
    return 1;
}
