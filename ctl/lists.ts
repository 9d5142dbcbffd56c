import type { Client } from '../ipc/client.ts';
import type { BasePage, PersonaPage } from '../ipc/methods/shapes.ts';

// Lists that may come in several replies, whole.

type Asked = { after?: string };

async function whole<T extends { name: string }>(
  ask: (asked: Asked) => Promise<{ rows: readonly T[]; more?: boolean | undefined }>,
): Promise<T[]> {
  const all: T[] = [];
  for (;;) {
    const last = all.at(-1);
    const { rows, more } = await ask(last === undefined ? {} : { after: last.name });
    all.push(...rows);
    if (more !== true || rows.length === 0) return all;
  }
}

/** All personas, by name. */
export const allPersonas = (client: Client): Promise<PersonaPage[]> =>
  whole(async (asked) => {
    const { personas, more } = await client.call('persona.list', asked);
    return { rows: personas, more };
  });

/** All bases, by name. */
export const allBases = (client: Client): Promise<BasePage[]> =>
  whole(async (asked) => {
    const { bases, more } = await client.call('base.list', asked);
    return { rows: bases, more };
  });
