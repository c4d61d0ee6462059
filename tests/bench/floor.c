/* The floor for a changeover: stop and start N trivial processes in a bare loop, in the same order.
   Usage: floor N PROGRAM; prints the loop's milliseconds. Starts N first, untimed. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static pid_t start(char *program)
{
	char *argv[] = { program, NULL };
	pid_t pid;
	if (posix_spawn(&pid, program, NULL, NULL, argv, environ)) {
		perror(program);
		exit(1);
	}
	return pid;
}

static void stop(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd wait_for = { .fd = fd, .events = POLLIN };
	kill(pid, SIGTERM);
	poll(&wait_for, 1, -1);
	waitpid(pid, NULL, 0);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int n = atoi(argv[1]);
	pid_t *pids = calloc((size_t)n, sizeof *pids);
	for (int i = 0; i < n; i++)
		pids[i] = start(argv[2]);
	usleep(300000); /* every one of them must be up before it is stopped */
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < n; i++) {
		stop(pids[i]);
		pids[i] = start(argv[2]);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	for (int i = 0; i < n; i++)
		stop(pids[i]);
	printf("%.2f\n", (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	return 0;
}
