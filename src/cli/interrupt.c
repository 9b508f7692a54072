/* SIGINT and SIGTERM: a first one asks the run to end at its next evaluation, a second one ends it at once. */
#include "cli.h"

#include <unistd.h>

static volatile sig_atomic_t armed, noted;

static void on_signal(int number)
{
    if (armed && !noted) {
        noted = number;
        return;
    }
    cli_output_remove_all();
    signal(number, SIG_DFL);
    raise(number); /* pending until this handler returns */
}

void cli_interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction before;
    sigemptyset(&action.sa_mask);
    const int numbers[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) /* a signal that the caller ignores (nohup, a shell's background job) stays ignored */
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
}

void cli_interrupt_arm(void) { armed = 1; }

void cli_interrupt_disarm(void) { armed = noted = 0; }

void cli_interrupt_block(sigset_t *before)
{
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, before);
}

void cli_interrupt_unblock(const sigset_t *before) { sigprocmask(SIG_SETMASK, before, NULL); }

int cli_interrupt_signal(void) { return noted; }
