/**
 * Ids of user and group that no person has, one for each kind of child that needs no rights: none can signal, trace or exhaust another.
 * Confined children have one each (`confined.ts`).
 */
export const childIds = {
  /** Keeps files in memory. */
  pins: 65_530,
  /** Reads lists of applications. */
  surveyor: 65_531,
  /** Tries what an ordinary user may do here. */
  trial: 65_532,
  /** Asks what the machine is made of. */
  inventory: 65_533,
} as const;
