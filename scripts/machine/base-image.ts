/** The image of a guest without the daemon: made by mmdebstrap once, kept by what it is made from. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cached, keyOf } from './cache.ts';
import { debianSource } from './debian-source.ts';
import { runProgram } from './host-program.ts';
import { writeInitrd } from './initrd.ts';
import { guestPackages, kernelPackage, type Suite, unneededFiles } from './packages.ts';

/** What a machine boots from. */
export interface Image {
  suite: Suite;
  key: string;
  /** Raw ext4; never written, machines put an overlay on top. */
  root: string;
  kernel: string;
  initrd: string;
}

const here = import.meta.dirname;
const guest = join(here, 'guest');
const rootBytes = 3 * 2 ** 30;

/** Services that cost time at each start and do nothing for a test. */
const masked = [
  ...['apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'fstrim.timer'],
  ...['e2scrub_all.timer', 'e2scrub_reap.service', 'getty.target', 'serial-getty@ttyS0.service'],
  ...['ldconfig.service', 'systemd-hwdb-update.service', 'systemd-journal-catalog-update.service'],
  ...['systemd-firstboot.service', 'systemd-networkd.service', 'systemd-pstore.service'],
  ...['systemd-resolved.service', 'systemd-timesyncd.service', 'systemd-update-done.service'],
  ...['machines.target', 'nvmefc-boot-connections.service', 'nvmf-autoconnect.service'],
];

/** Drivers that no machine of ours has. */
const unusedDrivers = ['gpu', 'infiniband', 'media', 'net/ethernet', 'net/wireless'];

/** The image for `suite`, with `more` packages, made when it is not there. `say` hears about long work. */
export async function baseImage(
  suite: Suite,
  say: (text: string) => void,
  more: readonly string[] = [],
): Promise<Image> {
  const sources = ['base-image.ts', 'initrd.ts', 'kernel-hook', 'packages.ts'];
  const files = [...sources, ...readdirSync(guest).map((name) => `guest/${name}`)].sort();
  const contents = files.map((name) => readFileSync(join(here, name)));
  const key = keyOf(suite, ...more, ...files, ...contents);
  const name = [suite, ...more].join('-');
  const folder = await cached(`base-${name}`, key, async (making) => {
    say(`making the image of a Debian ${name} (about a minute)`);
    await makeImage([...guestPackages(suite), ...more], suite, making);
  });
  return { suite, key, ...imageFiles(folder) };
}

export const imageFiles = (folder: string) => ({
  root: join(folder, 'root.ext4'),
  kernel: join(folder, 'vmlinuz'),
  initrd: join(folder, 'initrd'),
});

async function makeImage(packages: string[], suite: Suite, folder: string): Promise<void> {
  const root = join(folder, 'root');
  // Programs that give up root inside must be able to pass.
  chmodSync(folder, 0o755);
  await installDebian(packages, suite, root);
  await furnish(root);
  const files = imageFiles(folder);
  const version = await takeKernel(root, files.kernel);
  await writeInitrd(root, version, files.initrd);
  writeFileSync(join(folder, 'packages'), await packagesOf(root));
  const features = ['-O', 'verity,encrypt', '-E', 'lazy_itable_init=1,nodiscard'];
  const argv = ['mke2fs', '-q', '-t', 'ext4', '-b', '4096', ...features, '-d', root, files.root];
  await runProgram([...argv, `${rootBytes / 1024}k`], { deadlineMs: 300_000 });
  rmSync(root, { recursive: true });
}

async function installDebian(packages: string[], suite: Suite, root: string): Promise<void> {
  const unneeded = unneededFiles.map((path) => `--dpkgopt=path-exclude=${path}`);
  const argv = [
    ...['mmdebstrap', '--mode=root', '--variant=minbase', '--quiet', ...unneeded],
    ...['--aptopt=APT::Install-Recommends "false"', `--include=${packages.join(',')}`],
    ...[`--customize-hook=${join(here, 'kernel-hook')}`, suite, root, await debianSource(suite)],
  ];
  const environment = ['env', `PERSONAD_KERNEL=${kernelPackage}`];
  await runProgram([...environment, ...argv], { deadlineMs: 900_000, contained: true });
}

/** Everything in the guest that is not Debian's: the agent, users, the table of file systems. */
async function furnish(root: string): Promise<void> {
  const units = join(root, 'etc/systemd/system');
  const inRoot = (...argv: string[]) =>
    runProgram(['chroot', root, ...argv], { deadlineMs: 60_000 });
  copyFileSync(join(guest, 'agent'), join(root, 'usr/local/sbin/machine-agent'));
  chmodSync(join(root, 'usr/local/sbin/machine-agent'), 0o755);
  copyFileSync(join(guest, 'agent.service'), join(units, 'machine-agent.service'));
  mkdirSync(join(units, 'multi-user.target.wants'), { recursive: true });
  symlinkSync(
    '../machine-agent.service',
    join(units, 'multi-user.target.wants/machine-agent.service'),
  );
  for (const unit of masked) {
    rmSync(join(units, unit), { force: true });
    symlinkSync('/dev/null', join(units, unit));
  }
  writeFileSync(join(root, 'etc/machine-id'), '0123456789abcdef0123456789abcdef\n');
  writeFileSync(join(root, 'etc/hostname'), 'guest\n');
  const table = ['/dev/vda / ext4 noatime 0 0', '/dev/nvme0n1 /var/lib/persona ext4 noatime 0 0'];
  writeFileSync(join(root, 'etc/fstab'), `${table.join('\n')}\n`);
  mkdirSync(join(root, 'var/lib/persona'), { mode: 0o700, recursive: true });
  await inRoot('passwd', '--delete', 'root');
  for (const user of ['alice', 'bob', 'carol']) {
    await inRoot('useradd', '--create-home', '--shell', '/bin/bash', user);
  }
}

/** Moves the kernel out of the root and its modules to their place. Returns its version. */
async function takeKernel(root: string, kernel: string): Promise<string> {
  const unpacked = join(root, 'boot/kernel');
  const modules = ['lib/modules', 'usr/lib/modules']
    .map((path) => join(unpacked, path))
    .find((path) => existsSync(path));
  if (modules === undefined) throw new Error('the kernel package has no modules');
  const version = readdirSync(modules)[0] ?? '';
  const to = join(root, 'usr/lib/modules', version);
  mkdirSync(join(root, 'usr/lib/modules'), { recursive: true });
  cpSync(join(modules, version), to, { recursive: true, verbatimSymlinks: true });
  renameSync(join(unpacked, 'boot', `vmlinuz-${version}`), kernel);
  rmSync(unpacked, { recursive: true });
  for (const driver of unusedDrivers)
    rmSync(join(to, 'kernel/drivers', driver), { recursive: true, force: true });
  await runProgram(['chroot', root, '/sbin/depmod', version], { deadlineMs: 120_000 });
  return version;
}

const packagesOf = (root: string): Promise<string> =>
  runProgram(['chroot', root, 'dpkg-query', '--show'], { deadlineMs: 60_000 });
