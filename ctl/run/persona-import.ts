import { checkName } from '../../ipc/values.ts';
import type { Call } from '../call.ts';
import { runChange } from '../change.ts';
import { inputOf } from '../inputs.ts';
import { say } from '../print/safe.ts';
import { personaLines } from './personas.ts';

/** `personactl persona import` */
export async function importPersona(call: Call): Promise<number | undefined> {
  const name = call.text('name');
  if (name !== undefined) checkName(name);
  const params = {
    source: await inputOf(call, call.operand('FILE')),
    ...(name !== undefined && { name }),
    ...(call.has('yes') && { allowPrivileged: true }),
  };
  return runChange(call, 'persona.import', params, (outcome) => {
    const { persona, existed, rebuilt } = outcome.result;
    const title = call.out.style.bold(persona.name);
    call.out.done(outcome, () => {
      if (existed) return [say`Persona ${title} was there before; nothing changed.`];
      const how = rebuilt ? ' and was rebuilt: no trusted key signed it' : '';
      return [say`Persona ${title} is imported${how}.`, ...personaLines(persona, call).slice(1)];
    });
    return undefined;
  });
}
