/* Ctrl-C: while calls wait, our handler stands before the program's own. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupts;
static struct sigaction program_action;
static int num_waiting;
static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_interrupt(int number, siginfo_t *info, void *machine) {
	interrupts++;
	if (program_action.sa_flags & SA_SIGINFO) {
		program_action.sa_sigaction(number, info, machine);
	} else if (program_action.sa_handler == SIG_DFL) {
		signal(number, SIG_DFL);
		raise(number);
	} else if (program_action.sa_handler != SIG_IGN) {
		program_action.sa_handler(number);
	}
}

static void begin_waiting(void) {
	pthread_mutex_lock(&waiting_lock);
	if (num_waiting++ == 0) {
		struct sigaction ours;
		memset(&ours, 0, sizeof ours);
		ours.sa_sigaction = on_interrupt;
		ours.sa_flags = SA_SIGINFO | SA_RESTART;
		sigemptyset(&ours.sa_mask);
		sigaction(SIGINT, NULL, &program_action);
		sigaction(SIGINT, &ours, NULL);
	}
	pthread_mutex_unlock(&waiting_lock);
}

static void end_waiting(void) {
	struct sigaction now;
	pthread_mutex_lock(&waiting_lock);
	if (--num_waiting == 0 && sigaction(SIGINT, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
	    now.sa_sigaction == on_interrupt) {
		sigaction(SIGINT, &program_action, NULL);
	}
	pthread_mutex_unlock(&waiting_lock);
}
