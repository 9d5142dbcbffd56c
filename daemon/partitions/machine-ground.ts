import { existsSync, readFileSync, renameSync } from 'node:fs';
import { removeFile, writeDurably } from '../kernel/files.ts';
import { holdGroup } from '../kernel/held-group.ts';
import {
  keptProperty,
  propertyOf,
  removeDropIn,
  setUnitProperty,
  unitOf,
} from '../kernel/unit-properties.ts';
import type { LeaseGround, LeasePage, UnitKnobs } from './lease-ground.ts';

/** A file as a page. */
export const leaseFile = (file: string): LeasePage => ({
  name: file,
  read: () => (existsSync(file) ? readFileSync(file, 'utf8') : undefined),
  write: (text) => writeDurably(file, text),
  remove: () => removeFile(file),
  putAside() {
    renameSync(file, `${file}.damaged`);
    return `${file}.damaged`;
  },
});

const property = (knob: string): string => {
  const name = propertyOf(knob);
  if (name === undefined) throw new Error(`internal error: no property for ${knob}`);
  return name;
};

const units: UnitKnobs = {
  find: (group, knob) => (propertyOf(knob) === undefined ? undefined : unitOf(group)),
  kept: (unit, knob) => keptProperty(unit, property(knob)),
  set: (unit, knob, value) => setUnitProperty(unit, property(knob), value),
  forget: (unit, knob) => removeDropIn(unit, property(knob)),
};

/** The groups of this machine. With `manager` systemd writes the knobs of its units. */
export const machineGround = (manager: boolean): LeaseGround => ({
  hold: holdGroup,
  ...(manager && { units }),
});
