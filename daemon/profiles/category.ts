import type { Known } from './application.ts';
import type { Values } from './fragment.ts';

/** What a kind of application tells of its needs; little, and so it is said with little confidence. */
const table: readonly (readonly [category: string, values: Values])[] = [
  ['PasswordManager', { security: 'sensitive' }],
  ['Game', { cpu: 'normal', profile: 'fast' }],
  ['IDE', { profile: 'fast' }],
  ['WebBrowser', { security: 'sensitive' }],
  ['Email', { security: 'sensitive' }],
  ['Chat', { security: 'sensitive' }],
  ['InstantMessaging', { security: 'sensitive' }],
  ['FileTransfer', { cpu: 'background' }],
  ['P2P', { cpu: 'background' }],
  ['Archiving', { cpu: 'background' }],
];

/** How sure a kind can be. */
export const categoryConfidence = 0.3;

/** What the categories of an application tell; the first that says something of a fact counts. */
export function valuesOfCategories({ value }: Known<readonly string[]>): Values {
  const fitting = table.filter(([category]) => value.includes(category));
  return Object.assign({}, ...fitting.map(([, values]) => values).reverse()) as Values;
}
