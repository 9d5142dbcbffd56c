import { text as textOf } from 'node:stream/consumers';
import { callerLimits, startLimited } from './as-caller.ts';
import { type NvmeNamespace, nvmeNamespaces } from './block-devices.ts';
import type { MachineFacts } from './machine-facts.ts';
import { programFile } from './program-files.ts';

/** What the machine is made of, with the NVMe namespaces. */
export interface Inventory extends MachineFacts {
  namespaces: NvmeNamespace[];
}

/** It takes a third of a second; a bus that hangs is given this long. */
const deadlineMs = 20_000;
const limits = { ...callerLimits, memoryBytes: 512 << 20 };

/** Asks a child, which ends with its answer. Throws ProgramFailed. */
export async function readInventory(): Promise<Inventory> {
  const argv = [process.execPath, '--no-warnings', programFile('inventory')];
  const child = await startLimited(argv, { deadlineMs, limits, name: 'inventory', input: false });
  const [answer] = await Promise.all([textOf(child.stdout), child.done]);
  return { ...(JSON.parse(answer) as MachineFacts), namespaces: nvmeNamespaces() };
}
