typedef int dk_placeholder;
