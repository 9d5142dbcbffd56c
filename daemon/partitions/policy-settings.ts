const MiB = 2 ** 20;

/** What the policies go by. Shares are of the total memory, 0 to 1. */
export interface PolicySettings {
  /** No side's share is smaller. From the specification. */
  minShare: number;
  /** No side's share is greater. From the specification. */
  maxShare: number;
  /** Where shares begin, and stay with `static`: the user's part. */
  userShare: number;
  threshold: {
    /** Use above this part of the own share asks for more. From the specification. */
    growAbove: number;
    /** Use below this part of the own share gives some away. From the specification. */
    shrinkBelow: number;
    /** What one step moves. From the specification. */
    step: number;
    /** What the step is a part of: the total (it moves points), or each size (times 1.1 and times 0.9). */
    stepOf: 'total' | 'size';
  };
  protective: {
    /** A side needs memory when its tasks wait this share of the time (lmkd acts at 70 ms in 1 s). */
    needWaiting: number;
    /** It also needs memory when fetching its working set back costs this share of the time. */
    needLost: number;
    /** A side gets memory while the other loses less than this part of what it loses, each for what it has. */
    giverLost: number;
    /** Of all protection: what a side keeps at least. What it claims comes back. */
    leastPart: number;
    /** Of all protection: what the user's side keeps, and gets first, as far as it uses it. */
    userPart: number;
    /** Of the total: of what both sides can have, so much is not protected after a move, so that there is something to take. */
    openShare: number;
    /** Where pressure is not told: time of one refault, to make waiting of counts; where counts are not told, the reverse. */
    refaultUs: number;
    /** What comes back of a working set in a second, times this, is what is missing of it. */
    missingS: number;
    /** Of the total: more is not taken for missing while both sides lack memory. */
    contendedMost: number;
    /** Of the total: smaller changes are not worth a write. */
    deadBand: number;
    /** The same while both sides lack memory: there is little to win. */
    contendedBand: number;
    /** Of what a launch was said to need: the part that is working set, as one may expect. */
    hintPart: number;
    /** Of the total: more is not believed of the launches of a side together. */
    hintMost: number;
    /** Between two moves for the same side. */
    coolDownMs: number;
    /** Before a move is taken back. */
    reversalMs: number;
    /** Of the total: what a limit takes from the giver, at least. */
    stepLeast: number;
    /** Looks in a row with need despite protection, before the giver is limited. */
    limitAfter: number;
    /** A limit on the giver ends after this, needed or not. */
    holdMs: number;
  };
  senpai: {
    /** Waiting that is looked for: so much in one interval. */
    targetUs: number;
    intervalMs: number;
    maxProbe: number;
    coefficientProbe: number;
    coefficientBackoff: number;
  };
  memavaild: {
    /** Available memory, of the total: limits come below the first, and go above the second. */
    tightenBelow: number;
    releaseAbove: number;
    releaseAfterMs: number;
    /** What one look takes away. */
    stepBytes: number;
  };
  guard: {
    /** No limit is below this. */
    floorBytes: number;
    /** Room above what cannot be taken from a side: bytes, and a share of it. */
    floorRoomBytes: number;
    floorRoomShare: number;
    /** Room above all that a side uses, where its limit is a hard one; and the steps in which such a limit moves. */
    hardRoomBytes: number;
    hardStepBytes: number;
    /** With less free swap no limit stands: it would only stall (memavaild lets go at 100 MiB). */
    swapFreeBytes: number;
    /** Of the total: the sum of protections is not greater, so that there is something to move. */
    protectedShare: number;
    /** Held back for so long without getting on: the limit goes, and stays away for `restMs`. */
    stallMs: number;
    restMs: number;
    /** A side does not get on when all its tasks wait this share of the time. */
    stallWaiting: number;
    /** No decisions for so long after the machine has slept. */
    resumeHoldMs: number;
    /** More time than this between two looks means that it slept, or that we did. */
    gapMs: number;
  };
}

/** Constants of the specification where it has them; the others from `senpai`, `lmkd`, `memavaild` and the simulator. */
export const policySettings: PolicySettings = {
  minShare: 0.2,
  maxShare: 0.8,
  userShare: 0.5,
  threshold: { growAbove: 0.8, shrinkBelow: 0.2, step: 0.1, stepOf: 'total' },
  protective: {
    needWaiting: 0.07,
    needLost: 0.05,
    giverLost: 0.5,
    leastPart: 0.03,
    userPart: 0.5,
    openShare: 0.08,
    refaultUs: 100,
    missingS: 20,
    contendedMost: 0.08,
    deadBand: 0.04,
    contendedBand: 0.08,
    hintPart: 0.5,
    hintMost: 0.2,
    coolDownMs: 20_000,
    reversalMs: 61_000,
    stepLeast: 0.1,
    limitAfter: 10,
    holdMs: 61_000,
  },
  senpai: {
    targetUs: 10_000,
    intervalMs: 6000,
    maxProbe: 0.01,
    coefficientProbe: 10,
    coefficientBackoff: 20,
  },
  memavaild: {
    tightenBelow: 0.025,
    releaseAbove: 0.04,
    releaseAfterMs: 20_000,
    // 50 MiB each 0.1 s there.
    stepBytes: 500 * MiB,
  },
  guard: {
    floorBytes: 100 * MiB,
    floorRoomBytes: 64 * MiB,
    floorRoomShare: 0.05,
    hardRoomBytes: 512 * MiB,
    hardStepBytes: 256 * MiB,
    swapFreeBytes: 100 * MiB,
    protectedShare: 0.9,
    stallMs: 10_000,
    restMs: 300_000,
    stallWaiting: 0.1,
    resumeHoldMs: 30_000,
    gapMs: 20_000,
  },
};
