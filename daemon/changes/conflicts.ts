const sharedPrefix = 'shared:';

/** A hold as data: `shared:persona:work` is the thing `persona:work`, held together with others. */
function parse(hold: string): { thing: string; shared: boolean } {
  const shared = hold.startsWith(sharedPrefix);
  return { thing: shared ? hold.slice(sharedPrefix.length) : hold, shared };
}

/** The first thing that two lists of holds cannot both have, or undefined when they may overlap. */
export function clash(one: readonly string[], other: readonly string[]): string | undefined {
  const held = other.map(parse);
  for (const hold of one.map(parse)) {
    const against = held.find((its) => its.thing === hold.thing && !(its.shared && hold.shared));
    if (against !== undefined) return hold.thing;
  }
  return undefined;
}

/** Something that holds: a running, stuck or earlier queued change. */
export interface Holder {
  id: number;
  holds: readonly string[];
}

/**
 * Who stands in the way of `holds`, the earliest first, or undefined. Earlier queued changes count:
 * otherwise a stream of shared holders would starve an exclusive one.
 */
export function blocker(
  holds: readonly string[],
  before: readonly Holder[],
): { holder: Holder; thing: string } | undefined {
  for (const holder of before) {
    const thing = clash(holds, holder.holds);
    if (thing !== undefined) return { holder, thing };
  }
  return undefined;
}
