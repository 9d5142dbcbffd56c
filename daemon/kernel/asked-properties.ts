import { DbusReader, DbusWriter } from './dbus-message.ts';
import { failedWith } from './errno.ts';
import { SystemBus } from './system-bus.ts';

/** A manager that answers does so in some milliseconds; nobody waits longer for what is only told. */
const DEADLINE_MS = 1_000;
const MANAGER = 'org.freedesktop.systemd1';
const KINDS = { slice: 'Slice', scope: 'Scope', service: 'Service' } as const;
/** Names of errors: the unit has gone, or this systemd has no such property. */
const UNKNOWN = ['NoSuchUnit', 'UnknownObject', 'UnknownInterface', 'UnknownProperty'] as const;

/** What the service manager says of a unit: texts and numbers, by the names of properties. */
export type Properties = Readonly<Record<string, string | number>>;

/** The object of a unit on the bus: all but letters and digits as a code, a leading digit too (sd_bus_path_encode(3)). Pure. */
export function unitPath(unit: string): string {
  const code = (one: string) =>
    [...Buffer.from(one)].map((byte) => `_${byte.toString(16).padStart(2, '0')}`).join('');
  return `/org/freedesktop/systemd1/unit/${unit.replace(/[^A-Za-z0-9]|^[0-9]/g, code)}`;
}

/** A text or a number of an answer; undefined for any other type. */
function readVariant(body: Buffer): string | number | undefined {
  const reader = new DbusReader(body);
  const type = reader.signature();
  if (type === 's') return reader.text();
  return type === 'u' ? reader.u32() : undefined;
}

/** Asks the service manager for properties of units; what it does not know is left out. Rejects where it does not answer. */
export async function askProperties(
  units: readonly string[],
  names: readonly string[],
  address?: string,
): Promise<Map<string, Properties>> {
  using bus = new SystemBus(DEADLINE_MS, address);
  const one = async (unit: string, name: string) => {
    const kind = KINDS[unit.slice(unit.lastIndexOf('.') + 1) as keyof typeof KINDS];
    const call = {
      destination: MANAGER,
      path: unitPath(unit),
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: new DbusWriter().text(`${MANAGER}.${kind}`).text(name).bytes(),
    };
    try {
      return readVariant((await bus.call(call)).body);
    } catch (error) {
      if (failedWith(error, ...UNKNOWN)) return undefined;
      throw error;
    }
  };
  const all = (unit: string) =>
    Promise.all(names.map(async (name) => [name, await one(unit, name)] as const));
  const found = await Promise.all(units.map(async (unit) => [unit, await all(unit)] as const));
  return new Map(
    found.map(([unit, pairs]) => [
      unit,
      Object.fromEntries(
        pairs.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ),
    ]),
  );
}
