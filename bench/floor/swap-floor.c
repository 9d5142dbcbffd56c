// The floor of a swap: the same mount calls as the daemon's, from one C process, nothing else.
// Usage: swap-floor BASE_IMAGE DIFF_A DIFF_B UPPERS_DIR SLOT_DIR ROUNDS, then a line of input for each round.
// Layers stay mounted (as the daemon keeps them); each round mounts a new overlay over a prepared
// upper, slips it beneath the old tree and detaches that. Answers each line with one: microseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x00000200
#endif

static void check(long result, const char *what) {
  if (result < 0) {
    fprintf(stderr, "cannot %s: %s\n", what, strerror(errno));
    exit(1);
  }
}

static int config(int fs, const char *key, const char *value) {
  return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

static int mount_image(const char *image) {
  int fs = syscall(SYS_fsopen, "erofs", FSOPEN_CLOEXEC);
  check(fs, "open erofs");
  check(config(fs, "source", image), "set the image");
  check(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0), "set ro");
  check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create erofs");
  int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
  check(mount, "mount erofs");
  close(fs);
  return mount;
}

static int mount_overlay(const int *lowers, int count, const char *upper, const char *work) {
  char path[64];
  int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
  check(fs, "open overlay");
  config(fs, "source", "floor");
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", lowers[i]);
    check(config(fs, "lowerdir+", path), "add a lower");
  }
  check(config(fs, "upperdir", upper), "set the upper");
  check(config(fs, "workdir", work), "set the work folder");
  config(fs, "index", "off");
  config(fs, "metacopy", "off");
  config(fs, "redirect_dir", "off");
  config(fs, "xino", "auto");
  check(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create overlay");
  int mount = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
  check(mount, "mount overlay");
  close(fs);
  return mount;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  int rounds = atoi(argv[6]);
  int base = mount_image(argv[1]);
  int diffs[2] = {mount_image(argv[2]), mount_image(argv[3])};
  char upper[4096], work[4096];
  for (int i = 0; i < rounds; i++) {
    snprintf(upper, sizeof upper, "%s/%d", argv[4], i);
    check(mkdir(upper, 0755), "make an upper");
    snprintf(upper, sizeof upper, "%s/%d/fs", argv[4], i);
    check(mkdir(upper, 0755), "make an upper");
    snprintf(work, sizeof work, "%s/%d/work", argv[4], i);
    check(mkdir(work, 0755), "make a work folder");
  }
  sync();
  check(mount("floor", argv[5], "tmpfs", 0, NULL), "mount the first tree");
  check(mount(NULL, argv[5], NULL, MS_PRIVATE, NULL), "make it private");
  for (int i = 0; i < rounds; i++) {
    char line[8];
    if (fgets(line, sizeof line, stdin) == NULL) break;
    snprintf(upper, sizeof upper, "%s/%d/fs", argv[4], i);
    snprintf(work, sizeof work, "%s/%d/work", argv[4], i);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    int lowers[2] = {diffs[i % 2], base};
    int tree = mount_overlay(lowers, 2, upper, work);
    int old = syscall(SYS_open_tree, AT_FDCWD, argv[5], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    check(old, "hold the old tree");
    check(syscall(SYS_move_mount, tree, "", AT_FDCWD, argv[5],
                  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_BENEATH), "move beneath");
    check(umount2(argv[5], MNT_DETACH), "detach the old tree");
    clock_gettime(CLOCK_MONOTONIC, &b);
    close(old);
    close(tree);
    printf("%.1f\n", (b.tv_sec - a.tv_sec) * 1e6 + (b.tv_nsec - a.tv_nsec) / 1e3);
    fflush(stdout);
  }
  umount2(argv[5], MNT_DETACH);
  return 0;
}
