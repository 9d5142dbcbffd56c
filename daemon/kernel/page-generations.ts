import { existsSync, readFileSync } from 'node:fs';

/**
 * The kernel finds pages to take away by generations (CONFIG_LRU_GEN). It then passes a protected group over only once, and
 * takes from it what others do not give at once: `memory.low` is worth little against a group that uses all it has.
 */
export function pageGenerations(file = '/sys/kernel/mm/lru_gen/enabled'): boolean {
  // Bits, of which the lowest is the main switch.
  return existsSync(file) && (Number(readFileSync(file, 'latin1')) & 1) === 1;
}
