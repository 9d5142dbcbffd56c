import type { Command } from '../command.ts';

/** What a person sets of the shares: on the machine, or on a simulated one. */
export const shareFlags: Command['flags'] = [
  { name: 'user', value: 'PERCENT', summary: "The user's part of the memory." },
  { name: 'least', value: 'PERCENT', summary: 'No part is smaller.' },
  { name: 'most', value: 'PERCENT', summary: 'No part is greater.' },
  {
    name: 'grow',
    value: 'PERCENT',
    summary: 'With `threshold`: a side that uses more than this of its part asks for more.',
  },
  {
    name: 'shrink',
    value: 'PERCENT',
    summary: 'With `threshold`: a side that uses less than this of its part gives some away.',
  },
  {
    name: 'step',
    value: 'PERCENT',
    summary: 'With `threshold`: what one step moves, of all memory.',
  },
];
