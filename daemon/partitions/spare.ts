import { floorBytes } from './guard.ts';
import { type Observation, type Side, sides, unreclaimableBytes } from './observation.ts';
import type { PolicySettings } from './policy-settings.ts';

/** Memory that may be given away for as long as somebody likes. */
export interface Spare {
  /** More than this, and a side could no longer have what it must have. */
  spareBytes: number;
  /** The most that the user side may have. */
  userShareBytes: number;
}

/** What a side must have and does not hold yet: that much has to stay available. A side that cannot be seen holds nothing. */
function owedBytes(side: Side, now: Observation, settings: PolicySettings): number {
  const seen = now.sides[side];
  if (seen === undefined) return settings.minShare * now.totalBytes;
  const held = unreclaimableBytes(seen, now.swapFreeBytes);
  return Math.max(0, floorBytes(seen, now, settings) - held);
}

/** What can be spared at this look, by the same floors that every policy is held to. Pure. */
export function spareOf(now: Observation, settings: PolicySettings): Spare {
  const { totalBytes, availableBytes } = now;
  const { system } = now.sides;
  const systemFloor = Math.max(
    settings.minShare * totalBytes,
    system === undefined ? 0 : floorBytes(system, now, settings),
  );
  const owed = sides.reduce((sum, side) => sum + owedBytes(side, now, settings), 0);
  return {
    spareBytes: Math.max(0, Math.floor(availableBytes - owed)),
    userShareBytes: Math.max(
      0,
      Math.floor(Math.min(settings.maxShare * totalBytes, totalBytes - systemFloor)),
    ),
  };
}
