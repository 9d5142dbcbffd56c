// The floor of a socket round trip: one byte each way over a Unix socket pair between two processes.
// Usage: ping-pong ROUNDS CPU CPU: the processors of the two. Prints one line per round: microseconds.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void stay_on(const char *cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(atoi(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int rounds = atoi(argv[1]), ends[2];
  char byte = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
  pid_t child = fork();
  stay_on(argv[child == 0 ? 3 : 2]);
  if (child == 0) {
    close(ends[0]);
    while (read(ends[1], &byte, 1) == 1)
      if (write(ends[1], &byte, 1) != 1) break;
    _exit(0);
  }
  close(ends[1]);
  for (int i = 0; i < rounds; i++) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (write(ends[0], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1) return 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%.2f\n", (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3);
    usleep(2000);
  }
  close(ends[0]);
  waitpid(child, NULL, 0);
  return 0;
}
