// Starts a program as often as it is told: a line of input for each, answered with one: microseconds until the program has
// written something, or has ended. The next is started when it has ended.
// Usage: start-floor PROGRAM [ARGUMENT...]
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
  char line[16], byte;
  if (argc < 2) return 2;
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct timespec a, b;
    int status, ends[2];
    pid_t child;
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0) return 1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (posix_spawnp(&child, argv[1], &actions, NULL, argv + 1, environ) != 0) return 1;
    close(ends[1]);
    if (read(ends[0], &byte, 1) < 0) return 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    close(ends[0]);
    posix_spawn_file_actions_destroy(&actions);
    if (waitpid(child, &status, 0) != child || status != 0) return 1;
    printf("%.1f\n", (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3);
    fflush(stdout);
  }
  return 0;
}
