// persona-confine: lets the kernel keep this process to some paths (Landlock), and becomes a program. It is started inside a sandbox,
// when everything is mounted: who is confined can mount nothing. It starts nothing that is not confined.
//
//   persona-confine [--see|--read|--use|--write PATH]... -- COMMAND [ARGUMENT...]
// A path that is not there allows nothing. What the standard streams are open for stays allowed by their names in /dev and /proc.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// linux/landlock.h as of Linux 6.12: headers of older systems have less of it. The numbers are the same on every machine.
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446, VERSION = 1, PATH_BENEATH = 1 };
enum {
  EXECUTE = 1, WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, READ_DIR = 1 << 3, TRUNCATE = 1 << 14, IOCTL_DEV = 1 << 15,
  ALL = (1 << 16) - 1,
  OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV,
  SCOPES = 3, // abstract sockets and signals
};
struct ruleset { uint64_t files, net, scoped; };
struct beneath { uint64_t allowed; int32_t parent; } __attribute__((packed));

static const struct { const char *option; uint64_t allowed; } grants[] = {
    {"--see", READ_DIR},
    {"--read", EXECUTE | READ_FILE | READ_DIR},
    {"--use", READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV},
    {"--write", ALL},
};

// What the kernel can keep a process from, by its version of Landlock.
static uint64_t handled(long version) {
  return version < 2 ? (1 << 13) - 1 : version < 3 ? (1 << 14) - 1 : version < 5 ? (1 << 15) - 1 : ALL;
}

static void end(const char *what) {
  fprintf(stderr, "persona-confine: %s: %s\n", what, strerror(errno));
  exit(125);
}

static int allow(int rules, int fd, uint64_t allowed) {
  struct stat found;
  if (fstat(fd, &found) != 0) return -1;
  struct beneath rule = {.allowed = S_ISDIR(found.st_mode) ? allowed : allowed & OF_FILES, .parent = fd};
  return (int)syscall(ADD_RULE, rules, PATH_BENEATH, &rule, 0);
}

// Programs write to /dev/stderr and the like, which opens anew what may lie outside of all paths.
static void allow_stream(int rules, int fd, uint64_t known) {
  static const uint64_t of_mode[] = {READ_FILE, WRITE_FILE | TRUNCATE, READ_FILE | WRITE_FILE | TRUNCATE, 0};
  struct stat found;
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &found) != 0 || S_ISDIR(found.st_mode)) return;
  // Pipes and sockets have no rules, and need none.
  if (allow(rules, fd, (of_mode[flags & O_ACCMODE] | IOCTL_DEV) & known) != 0 && errno != EBADFD) end("a standard stream");
}

int main(int count, char **words) {
  long version = syscall(CREATE_RULESET, NULL, 0, VERSION);
  if (version < 1) end("this kernel has no Landlock");
  uint64_t known = handled(version);
  struct ruleset all = {.files = known, .scoped = version < 6 ? 0 : SCOPES};
  int rules = (int)syscall(CREATE_RULESET, &all, sizeof all, 0);
  if (rules < 0) end("no rules can be made");
  int at = 1;
  for (; at + 1 < count && strcmp(words[at], "--") != 0; at += 2) {
    uint64_t allowed = 0;
    for (size_t i = 0; i < sizeof grants / sizeof *grants; i++)
      if (strcmp(words[at], grants[i].option) == 0) allowed = grants[i].allowed;
    errno = EINVAL;
    if (allowed == 0) end(words[at]);
    int fd = open(words[at + 1], O_PATH | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) continue;
    if (fd < 0 || allow(rules, fd, allowed & known) != 0) end(words[at + 1]);
    close(fd);
  }
  errno = EINVAL;
  if (at + 1 >= count || strcmp(words[at], "--") != 0) end("no command");
  for (int fd = 0; fd < 3; fd++) allow_stream(rules, fd, known);
  if (syscall(RESTRICT_SELF, rules, 0) != 0) end("cannot be confined");
  close(rules);
  execvp(words[at + 1], words + at + 1);
  int status = errno == ENOENT ? 127 : 126;
  fprintf(stderr, "persona-confine: %s: %s\n", words[at + 1], strerror(errno));
  return status;
}
