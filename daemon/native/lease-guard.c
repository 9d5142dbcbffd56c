// lease-guard: waits for the end of the daemon, gives back at once what that had leased of the machine, and then becomes
// the program that does the rest (the daemon's `--restore`), if there is one.
//
//   lease-guard LOCK [PROGRAM [ARGUMENT...]]
//
// Its input are lists of leases: a line for each, and one with a point that ends the list. The last whole one counts. The fields of
// a lease have a tab between them:
//   ROOT GROUP INODE KNOB PREFIX BACK OURS [OURS]
// the mounted hierarchy, the group below it and its inode id; the file of the knob; how the line begins that says its value; what
// is written to give it back; values that are ours.
// The end of the input is the end of the daemon. From then on no disk is waited for: the program is locked in memory, and the groups
// and its input are no files of a disk. What it leaves, or may not touch, is for the one after it, who reads the book of leases.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum {
  ROOM = 128 * 1024, // two of the longest lists that the daemon sends
  VALUE_MAX = 4096,
  WRITE_S = 2, // a limit that is lowered makes room first
  LOCK_S = 2,  // a daemon that dies may close its pipe before its lock
  FIELDS = 8,
};
enum field { ROOT, GROUP, INODE, KNOB, PREFIX, BACK, OURS };

static char input[ROOM + 1];
static size_t whole, length; // of the last whole list, and of that with what follows it

// Keeps the last whole list, and what has come of the next. `scanned` bytes have been looked at before.
static void keep_last(size_t scanned) {
  size_t begun = whole, line = scanned;
  for (size_t at = scanned; at < length; at++) {
    if (input[at] != '\n') continue;
    if (at - line == 1 && input[line] == '.') {
      memmove(input, input + begun, length - begun);
      length -= begun;
      at -= begun;
      whole = begun = at + 1;
    }
    line = at + 1;
  }
}

// Reads until the daemon has ended. False when it sends what makes no sense.
static bool wait_for_end(void) {
  size_t line = 0; // where the line begins that is being read
  for (;;) {
    if (length == ROOM) return false;
    ssize_t got = read(STDIN_FILENO, input + length, ROOM - length);
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
    if (got < 0) continue;
    length += (size_t)got;
    keep_last(line);
    line = length;
    while (line > whole && input[line - 1] != '\n') line--;
  }
}

// The fields of a line, which is taken apart. False when there are others than there must be.
static bool split(char *line, char *fields[FIELDS]) {
  int count = 0;
  for (char *rest = line; rest != NULL;) {
    if (count == FIELDS) return false;
    fields[count++] = strsep(&rest, "\t");
  }
  if (count <= OURS) return false;
  while (count < FIELDS) fields[count++] = NULL;
  return true;
}

// The very group, or -1.
static int hold(char *fields[FIELDS]) {
  int root = open(fields[ROOT], O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return -1;
  struct open_how how = {
      .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  int group = (int)syscall(SYS_openat2, root, fields[GROUP], &how, sizeof how);
  close(root);
  struct stat is;
  if (group >= 0 && fstat(group, &is) == 0 && is.st_ino == strtoull(fields[INODE], NULL, 10)) return group;
  if (group >= 0) close(group);
  return -1;
}

// The text of the knob says a value of ours.
static bool is_ours(char *text, char *fields[FIELDS]) {
  size_t prefix = strlen(fields[PREFIX]);
  for (char *line; (line = strsep(&text, "\n")) != NULL;) {
    if (strncmp(line, fields[PREFIX], prefix) != 0) continue;
    for (int i = OURS; i < FIELDS && fields[i] != NULL; i++) {
      size_t many = strlen(fields[i]);
      // More words may follow, that the kernel changes by itself.
      if (strncmp(line + prefix, fields[i], many) == 0 && strchr(" ", line[prefix + many]) != NULL) return true;
    }
    return false;
  }
  return false;
}

static void give_back(char *line) {
  char *fields[FIELDS], text[VALUE_MAX + 1];
  int group = split(line, fields) ? hold(fields) : -1;
  if (group < 0) return;
  int knob = openat(group, fields[KNOB], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  ssize_t got = knob < 0 ? -1 : read(knob, text, VALUE_MAX);
  if (knob >= 0) close(knob);
  text[got < 0 ? 0 : got] = 0;
  // Emptied first as by a shell; not to wait: where the kernel can, it leaves making room to the group.
  int how = O_WRONLY | O_TRUNC | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC;
  knob = is_ours(text, fields) ? openat(group, fields[KNOB], how) : -1;
  close(group);
  if (knob < 0) return;
  alarm(WRITE_S);
  ssize_t put = write(knob, fields[BACK], strlen(fields[BACK]));
  (void)put; // what was not taken is for the one after us
  alarm(0);
  close(knob);
}

static void nothing(int signal) {
  (void)signal;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  // Without SA_RESTART: a signal ends the wait for the lock, and the write that hangs.
  struct sigaction ends = {.sa_handler = nothing};
  sigaction(SIGALRM, &ends, NULL);
  // Open from the start: there is nothing to be read of it then.
  int lock = open(argv[1], O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (lock < 0) return 1;
  // Where it may not it works as well, only later when the machine has taken its pages.
  mlockall(MCL_CURRENT | MCL_FUTURE);
  if (!wait_for_end()) return 1;
  // Nobody else gives back meanwhile, and no daemon takes leases. The signal comes again, should it come before there is a wait.
  struct itimerval often = {.it_value = {.tv_sec = LOCK_S}, .it_interval = {.tv_sec = LOCK_S}}, never = {0};
  setitimer(ITIMER_REAL, &often, NULL);
  bool locked = flock(lock, LOCK_EX) == 0;
  setitimer(ITIMER_REAL, &never, NULL);
  if (locked) {
    input[whole] = 0;
    for (char *rest = input, *line; (line = strsep(&rest, "\n")) != NULL;) give_back(line);
    close(lock);
  }
  if (argc > 2) execv(argv[2], argv + 2);
  return argc > 2;
}
