import si from 'systeminformation';
import type { InventoryDisk, MachineFacts, MemoryModule } from './machine-facts.ts';

/**
 * The one importer of a library that starts shells for its answers: no caller's text ever reaches it. It runs
 * in a short-lived child (`../inventory.ts`), never in the daemon: its memory and its programs end with that child.
 */

/** More is no machine, and no name. */
const listed = 256;
const textChars = 128;

const text = (value: string | undefined): string => (value ?? '').trim().slice(0, textChars);
const whole = (value: number | null | undefined): number =>
  typeof value === 'number' && Number.isSafeInteger(Math.round(value)) && value > 0
    ? Math.round(value)
    : 0;

/** Modules of memory; none where the firmware does not tell, or `dmidecode` is missing. Needs root. */
export async function memoryModules(): Promise<MemoryModule[]> {
  const found = await si.memLayout();
  return found
    .filter(({ type, bank, size }) => size > 0 && (text(type) !== '' || text(bank) !== ''))
    .slice(0, listed)
    .map(({ size, bank, type, clockSpeed, ecc }) => ({
      slot: text(bank),
      bytes: whole(size),
      kind: text(type),
      ...(whole(clockSpeed) > 0 ? { mhz: whole(clockSpeed) } : {}),
      ...(typeof ecc === 'boolean' ? { ecc } : {}),
    }));
}

/** What is made of other disks or of memory is none of its own. */
const madeOfOthers = /^(loop|ram|zram|dm-|md|nbd|sr|fd)\d*/;

function kindOf(physical: string, protocol: string): InventoryDisk['kind'] {
  if (protocol.toLowerCase() === 'nvme') return 'NVMe';
  return physical === 'SSD' || physical === 'HDD' ? physical : 'other';
}

async function disks(): Promise<InventoryDisk[]> {
  const found = await si.blockDevices();
  return found
    .filter(({ type, name, size }) => type === 'disk' && size > 0 && !madeOfOthers.test(name))
    .slice(0, listed)
    .map(({ name, physical, protocol, size, model, removable }) => ({
      name: text(name),
      kind: kindOf(text(physical), name.startsWith('nvme') ? 'nvme' : text(protocol)),
      bytes: whole(size),
      model: text(model),
      transport: text(protocol).toLowerCase(),
      removable: removable === true,
    }));
}

/** Everything else. Needs no rights. */
export async function machineFacts(modules: MemoryModule[]): Promise<MachineFacts> {
  const [system, cpu, memory, all] = await Promise.all([si.system(), si.cpu(), si.mem(), disks()]);
  const maxMhz = whole(cpu.speedMax * 1000);
  return {
    system: {
      maker: text(system.manufacturer),
      model: text(system.model),
      virtual: system.virtual === true,
    },
    cpu: {
      model: text(`${cpu.manufacturer} ${cpu.brand}`),
      cores: whole(cpu.cores),
      physicalCores: whole(cpu.physicalCores),
      ...(maxMhz > 0 ? { maxMhz } : {}),
    },
    memory: { totalBytes: whole(memory.total), modules },
    disks: all,
  };
}
