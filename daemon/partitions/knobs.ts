import { parseAmount } from '../kernel/group-memory.ts';
import type { Amount, Side } from './observation.ts';

/** The knobs that a policy turns. `memory.max` is none of them. */
export type Knob = 'memory.low' | 'memory.high';

/** What a knob is without us. */
export const freeValue: Readonly<Record<Knob, Amount>> = { 'memory.low': 0, 'memory.high': 'max' };

/** Version 1 has one limit, a hard one, in the place of `memory.high`, and no protection. */
const hardLimit = 'memory.limit_in_bytes';

/** The file of a knob. Pure. */
export function knobFile(version: 1 | 2, knob: Knob): string {
  return version === 1 && knob === 'memory.high' ? hardLimit : knob;
}

/** The knob whose file this is, if it is one of a policy's. Pure. */
export function knobOfFile(file: string): Knob | undefined {
  if (file === hardLimit) return 'memory.high';
  return file === 'memory.low' || file === 'memory.high' ? file : undefined;
}

/** A value as the file takes it: version 1 has another word for no limit. Pure. */
export function knobText(version: 1 | 2, value: Amount): string {
  return version === 1 && value === 'max' ? '-1' : String(value);
}

/** No machine has so much: version 1 says no limit by a number. */
const unlimited = 2 ** 62;

/** What a file's text says. Undefined for what is no value. Pure. */
export function knobAmount(text: string): Amount | undefined {
  const amount = parseAmount(text);
  return typeof amount === 'number' && amount >= unlimited ? 'max' : amount;
}

/** One write that a plan asks for. */
export interface KnobWrite {
  side: Side;
  knob: Knob;
  value: Amount;
}
