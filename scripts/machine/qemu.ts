/** How a machine is put together: the one place that knows qemu's arguments. */
import type { Image } from './base-image.ts';

export const qemuProgram = 'qemu-system-x86_64';

/** Files of a machine, relative to its folder, which is where qemu runs: the path of a socket must be short. */
export const files = {
  root: 'root.qcow2',
  data: 'data.qcow2',
  /** What was written since the last start: it goes into the disk below at the next one. */
  rootTop: 'root-top.qcow2',
  dataTop: 'data-top.qcow2',
  agent: 'agent.sock',
  qemu: 'qmp.sock',
  pid: 'qemu.pid',
  log: 'qemu.log',
  console: 'console.log',
} as const;

/** The port below which the NVMe disk is, plugged in before the start or after it. */
export const dataPort = 'port0';

const memoryMiB = 2048;

/**
 * Without AVX there is less to emulate: 17 s of processor time for a start, 33 with everything qemu knows.
 * Two processors, since races between processors are part of what is tested.
 */
const processor = ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'Nehalem', '-smp', '2'];

/**
 * No watchdog against lockups: an emulated processor on a busy host stands still for longer than they allow.
 * A kernel that panics restarts, which ends qemu, which whoever waits for the guest notices.
 */
const kernelArguments = [
  ...['console=ttyS0', 'quiet', 'loglevel=3', 'panic=-1', 'audit=0', 'systemd.show_status=error'],
  ...['mitigations=off', 'no_timer_check', 'random.trust_cpu=on'],
  ...['nowatchdog', 'workqueue.watchdog_thresh=0'],
];

/**
 * Disks ignore the guest's flushes towards the host, but not inside qemu: what was not flushed when qemu is killed
 * exists only in its memory, as in the volatile cache of a disk. The host itself does not lose power.
 */
export const diskNode = (name: string, file: string) => ({
  'node-name': name,
  driver: 'qcow2',
  file: { driver: 'file', filename: file, cache: { direct: false, 'no-flush': true } },
  cache: { direct: false, 'no-flush': true },
});

export const dataDevice = { driver: 'nvme', id: 'data', serial: 'data', drive: 'data' };

export interface Start {
  image: Image;
  /** Absent: the NVMe disk is in the machine from the start. Else it comes later. */
  withoutData?: boolean;
  /** The state of a saved machine to go on from. */
  saved?: string;
  kernelArguments?: readonly string[];
  /** The socket of an emulated TPM 2.0 (swtpm), which ends with the machine. */
  tpm?: string;
}

/** The arguments of qemu for a start. */
export function qemuArguments(start: Start): string[] {
  const append = [...kernelArguments, ...(start.kernelArguments ?? [])].join(' ');
  const json = (value: object) => JSON.stringify(value);
  return [
    ...['-machine', 'q35,usb=off,vmport=off,smbus=off,sata=off', ...processor],
    ...['-m', String(memoryMiB), '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-nic', 'none', '-no-reboot', '-pidfile', files.pid],
    // In this order: who reaches the second socket finds the first one.
    ...['-chardev', `socket,id=agent,path=${files.agent},server=on,wait=off`],
    ...['-qmp', `unix:${files.qemu},server=on,wait=off`],
    ...[
      '-chardev',
      `file,id=console,path=${files.console},append=on`,
      '-serial',
      'chardev:console',
    ],
    ...['-device', 'virtio-rng-pci', '-device', `pcie-root-port,id=${dataPort},chassis=1`],
    ...['-blockdev', json(diskNode('root', files.rootTop)), '-device', 'virtio-blk-pci,drive=root'],
    ...['-device', 'virtio-serial-pci'],
    ...['-device', 'virtserialport,chardev=agent,name=personad.agent'],
    ...(start.tpm === undefined ? [] : tpm(start.tpm)),
    ...(start.withoutData
      ? []
      : ['-blockdev', json(diskNode('data', files.dataTop)), '-device', nvme()]),
    ...['-kernel', start.image.kernel, '-initrd', start.image.initrd, '-append', append],
    ...(start.saved === undefined ? [] : ['-incoming', `file:${start.saved}`]),
  ];
}

const tpm = (socket: string): string[] => [
  ...['-chardev', `socket,id=tpm,path=${socket}`],
  ...['-tpmdev', 'emulator,id=tpm0,chardev=tpm', '-device', 'tpm-tis,tpmdev=tpm0'],
];

const nvme = (): string => JSON.stringify({ ...dataDevice, bus: dataPort });
