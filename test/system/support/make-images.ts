/**
 * Makes ahead what the machines of tests start from: their own time does not count it. `--base`: only what they have before
 * the package and a first start, which leaves the processors to others. Nothing where there can be no machines.
 */
import { baseImage } from '../../../scripts/machine/base-image.ts';
import { suites } from '../../../scripts/machine/packages.ts';
import { lacking } from '../../support/needs.ts';
import { needsVm, startOf } from './vm.ts';

const base = process.argv.includes('--base');
if (lacking(needsVm) === undefined)
  for (const suite of suites) await (base ? baseImage(suite, console.log) : startOf(suite, true));
