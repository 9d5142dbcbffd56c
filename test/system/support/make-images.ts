/** Makes ahead what the machines of tests start from: their own time does not count it. Nothing where there can be no machines. */
import { suites } from '../../../scripts/machine/packages.ts';
import { lacking } from '../../support/needs.ts';
import { needsVm, startOf } from './vm.ts';

if (lacking(needsVm) === undefined) for (const suite of suites) await startOf(suite, true);
