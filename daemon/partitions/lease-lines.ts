import { saidBy, textFor } from './knob-text.ts';
import type { Lease } from './lease.ts';

/** How the line begins that says the knob's value; undefined for one that only `--restore` gives back. */
function prefixOf({ knob, device }: Lease): string | undefined {
  if (knob.startsWith('memory.')) return '';
  if (knob === 'io.weight') return 'default ';
  return knob === 'io.cost.qos' && device !== undefined ? `${device} ` : undefined;
}

function lineOf(lease: Lease): string[] {
  const { root, group, inode, knob, old, wanted, read } = lease;
  const prefix = prefixOf(lease);
  if (prefix === undefined) return [];
  const ours = new Set([saidBy(wanted, lease), ...(read === undefined ? [] : [read])]);
  const fields = [root, group, inode, knob, prefix, textFor(old, lease), ...ours];
  // Nothing that would be read as another field.
  return fields.some((field) => /[\t\n]/.test(field)) ? [] : [`${fields.join('\t')}\n`];
}

/** The leases of this boot as the native guard is told them (`../native/lease-guard.c`). Pure. */
export function leaseLines(leases: readonly Lease[], boot: string): string {
  const ours = leases.filter((lease) => lease.boot === boot);
  return `${ours.flatMap(lineOf).join('')}.\n`;
}
