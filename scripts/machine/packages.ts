/**
 * What the guests are made of. Names of Debian packages; recommended ones are not installed.
 * A change here makes new images.
 */

/** The releases of Debian that guests exist for. */
export const suites = ['trixie', 'bookworm'] as const;
export type Suite = (typeof suites)[number];

/** Name of the package that depends on the kernel; its newest version is unpacked, not installed. */
export const kernelPackage = 'linux-image-cloud-amd64';

const system = [
  'systemd',
  'systemd-sysv',
  'systemd-container',
  'dbus',
  'libpam-systemd',
  'udev',
  'kmod',
  'mount',
  'procps',
  'iproute2',
  'passwd',
];

/** What the daemon's package depends on: it is installed in the image without a network. */
const daemon = ['bubblewrap', 'cryptsetup-bin', 'erofs-utils', 'rsync', 'util-linux', 'xz-utils'];

/** What tests look at the guest with. */
const tests = [
  'acl',
  'attr',
  'dmsetup',
  'e2fsprogs',
  'fsverity',
  'libcap2-bin',
  'nvme-cli',
  'squashfs-tools',
  'strace',
  'tpm2-tools',
  'zstd',
];

/** Applications that tests start. */
const applications = ['git', 'sqlite3', 'vim'];

/** What only the guest of the newer release has. */
const newest = [...applications, 'stress-ng', 'util-linux-extra'];

/** The packages of a guest of this release. */
export const guestPackages = (suite: Suite): string[] =>
  [...system, ...daemon, ...tests, ...(suite === 'trixie' ? newest : [])].sort();

/** Files that no guest needs: what is written for people, what editors colour text by, and the drivers of screens, on which stress-ng depends. */
export const unneededFiles = [
  ...['man', 'doc', 'locale', 'vim'].map((name) => `/usr/share/${name}/*`),
  ...['libLLVM', 'libgallium', 'libz3'].map((name) => `/usr/lib/*/${name}*`),
];
