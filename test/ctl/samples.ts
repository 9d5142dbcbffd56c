import type { Answer } from '../../ipc/methods/index.ts';
import type {
  ApplicationPage,
  Assurance,
  BasePage,
  ChangeLine,
  EnclavePage,
  Explanation,
  FastPage,
  Generation,
  KeyPage,
  PersonaPage,
  RunningApplication,
  ServedPage,
  SlotPage,
  VerifiedApplication,
} from '../../ipc/methods/shapes.ts';

/** The time at which every test runs: 2026-11-21 06:00:00 UTC. */
export const nowMs = 1_795_240_800_000;

export const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;
const minute = 60_000;

export const base: BasePage = {
  name: 'debian',
  digest: digestOf('a'),
  bytes: 196_083_712,
  entries: 8123,
  source: 'tar',
  os: { id: 'debian', version: '12', title: 'Debian GNU/Linux 12 (bookworm)' },
  importedMs: nowMs - 90 * minute,
  usedBy: { personas: ['build', 'writing'], slots: ['desk'] },
};

export const persona: PersonaPage = {
  name: 'build',
  digest: digestOf('b'),
  base: { name: 'debian', digest: digestOf('a') },
  description: 'compilers',
  creator: 'host',
  importedMs: nowMs - 60 * minute,
  createdMs: nowMs - 61 * minute,
  bytes: 5_242_880,
  signature: { state: 'own', key: 'ed25519:0123456789abcdef', origin: 'created' },
  layers: [
    { kind: 'base', digest: digestOf('a'), bytes: 196_083_712 },
    { kind: 'diff', digest: digestOf('c'), bytes: 5_000_000 },
  ],
  environment: { CC: 'gcc' },
  privileged: ['usr/bin/su'],
  usedBy: { slots: ['desk'] },
};

export const generation: Generation = {
  number: 4,
  persona: { name: 'writing', digest: digestOf('d') },
  base: { name: 'debian', digest: digestOf('a') },
  state: 'good',
  reason: 'swap',
  startedMs: nowMs - 2 * minute,
  changeId: 12,
  upper: { id: 'u4', state: 'active', below: 0 },
};

export const earlier: Generation = {
  number: 3,
  persona: { name: 'build', digest: digestOf('b') },
  base: { name: 'debian', digest: digestOf('a') },
  state: 'good',
  reason: 'fresh',
  startedMs: nowMs - 50 * minute,
  endedMs: nowMs - 2 * minute,
  changeId: 11,
  upper: { id: 'u3', state: 'sealed', bytes: 1_048_576, below: 2 },
};

export const slot: SlotPage = {
  name: 'desk',
  owner: { uid: 0, name: 'root' },
  ephemeral: false,
  path: '/run/persona/slots/desk/root',
  state: 'active',
  createdMs: nowMs - 60 * minute,
  active: generation,
  processes: [{ pid: 4711, uid: 0, command: 'bash' }],
  draining: [{ generation: earlier, holders: [{ pid: 999, uid: 0, command: 'make' }] }],
  generations: 4,
};

export const emptySlot: SlotPage = {
  name: 'play',
  owner: { uid: 1000, name: 'ann' },
  ephemeral: true,
  path: '/run/persona/slots/play/root',
  state: 'empty',
  createdMs: nowMs - 60 * minute,
  processes: [],
  draining: [],
  generations: 0,
};

export const running: ChangeLine = {
  id: 13,
  kind: 'base.import',
  summary: 'import base fedora',
  ownerUid: 0,
  status: 'doing',
  createdMs: nowMs - 5000,
  progress: { done: 734_003_200, total: 1_073_741_824, unit: 'bytes' },
};

export const stuck: ChangeLine = {
  id: 9,
  kind: 'slot.rm',
  summary: 'remove slot old',
  ownerUid: 1000,
  status: 'stuck-undoing',
  createdMs: nowMs - 200 * minute,
  error: { code: 'no-space', message: 'cannot start: no space', hint: 'Free some space.' },
};

export const served: ServedPage = {
  app: 'firefox-esr',
  owner: { uid: 1000, name: 'alice' },
  state: 'serving',
  instances: 1,
  savedMs: nowMs - 3 * minute,
};

/** One with a problem, and little room. */
export const short: ServedPage = {
  ...served,
  app: 'paint \x1b[2J',
  state: 'ending',
  instances: 0,
  problem: 'no space',
  shortage:
    'only 3 MiB of 64 MiB are left, and it could not be given more: your fast partitions together are over 2 GiB; when nothing is left it is told that its disk is full',
};

export const status: Answer<'daemon.status'> = {
  apiVersion: 1,
  daemon: {
    version: '0.1.0',
    pid: 100,
    startedMs: nowMs - 180 * minute,
    state: 'ready',
    stateFolder: '/var/lib/persona',
  },
  machine: { hostName: 'station', kernel: '6.1.0-18', os: 'Debian GNU/Linux 12' },
  caller: { uid: 0, access: 'root' },
  slots: [slot, emptySlot],
  changes: [running, stuck],
  space: {
    path: '/var/lib/persona',
    fileSystem: 'ext4',
    totalBytes: 53_687_091_200,
    freeBytes: 19_327_352_832,
    reserveBytes: 2_684_354_560,
    uppers: 'direct',
  },
  memory: {
    mode: 'manage',
    managed: true,
    policy: 'protective',
    totalBytes: 17_179_869_184,
    availableBytes: 4_294_967_296,
    userBytes: 9_663_676_416,
    systemBytes: 2_147_483_648,
    waiting: 0.021,
    recent: { stepMs: 10_000, used: [0.25, 0.3, null, 0.5, 0.7, 0.75] },
  },
  inMemory: [served, short],
  pinned: [{ app: served.app, owner: served.owner, files: 61, bytes: 188_743_680 }],
  running: {
    applications: [
      {
        app: served.app,
        owner: served.owner,
        profile: 'fast',
        reason: 'personactl app set says fast',
        partition: 'fast partition app-1000-0123456789ab',
        savedMs: served.savedMs,
      },
      {
        app: 'keys \x1b[2J',
        owner: { uid: 1002 },
        profile: 'secure',
        reason: 'the caller asked for secure',
        partition: 'enclave vault',
      },
    ],
    more: 3,
  },
  integrity: {
    files: 3,
    due: 1,
    damaged: 1,
    scrub: {
      asked: true,
      files: 1,
      filesDone: 0,
      bytes: 20_971_520,
      bytesDone: 15_728_640,
      paused: false,
    },
  },
  counts: { bases: 1, personas: 2, slots: 2 },
  fallbacks: [
    { capability: 'gap-free flip', using: 'rename of a link', reason: 'no mount-beneath in 6.1' },
  ],
  notices: [
    { text: 'generation 2 of desk failed and is kept', command: 'personactl history desk' },
  ],
};

export const key: KeyPage = {
  id: 'ed25519:0123456789abcdef',
  state: 'own',
  publicKey: 'AAAA',
  comment: 'this machine',
  addedMs: nowMs - 90 * minute,
  personas: ['build', 'writing'],
};

export const swapped = {
  slot: 'desk',
  generation,
  previous: earlier,
  resumed: true,
  timing: { prepareMs: 0.62, commitMs: 0.48, flipMs: 0.05, totalMs: 1.35 },
};

const decided = {
  atMs: nowMs - 4000,
  policy: 'protective',
  managed: true,
  goals: {
    user: { lowBytes: 9_663_676_416 },
    system: { lowBytes: 4_294_967_296, highBytes: 6_442_450_944 },
  },
  why: [{ rule: 'need', side: 'user' as const, text: 'its tasks waited 12 % of the time' }],
  writes: [
    { side: 'user' as const, knob: 'memory.low', value: 9_663_676_416, state: 'written' as const },
    {
      side: 'system' as const,
      knob: 'memory.high',
      value: 'max' as const,
      state: 'refused' as const,
      detail: 'EBUSY \x1b[2J',
    },
  ],
};

const movedSpace = {
  atMs: nowMs - 5 * minute,
  policy: 'protective',
  sizes: { user: 25_769_803_776, system: 17_179_869_184 },
  why: [
    { rule: 'need', side: 'user' as const, text: 'its volume is too full' },
    { rule: 'seen', text: 'user is 92 % full, system 12 %' },
  ],
  move: {
    from: 'system' as const,
    to: 'user' as const,
    bytes: 4_294_967_296,
    state: 'done' as const,
    change: 17,
  },
};

export const explained: Answer<'partitions.explain'> = {
  last: decided,
  moves: [{ ...decided, atMs: nowMs - 60 * minute, why: [], writes: [] }, decided],
  space: {
    last: { ...movedSpace, atMs: nowMs - 1000, move: undefined },
    moves: [
      movedSpace,
      {
        ...movedSpace,
        atMs: nowMs - 3 * minute,
        move: { ...movedSpace.move, state: 'failed', change: undefined, detail: 'no \x1b[2J' },
      },
    ],
  },
};

export const partitions: Answer<'partitions.show'> = {
  mode: 'manage',
  managed: true,
  policy: 'protective',
  policies: [{ name: 'protective', summary: 'Protections.' }],
  shares: { user: 50, least: 20, most: 80, grow: 80, shrink: 20, step: 10 },
  seenMs: nowMs - 1000,
  totalBytes: 17_179_869_184,
  availableBytes: 4_294_967_296,
  swapTotalBytes: 4_294_967_296,
  swapFreeBytes: 3_221_225_472,
  waiting: 0.021,
  cgroupVersion: 2,
  sides: [
    {
      side: 'user',
      group: 'user.slice',
      present: true,
      currentBytes: 9_663_676_416,
      anonBytes: 6_442_450_944,
      fileBytes: 3_221_225_472,
      shmemBytes: 1_073_741_824,
      swapBytes: 1_073_741_824,
      waiting: 0.12,
      ioWaiting: 0.034,
      low: 9_663_676_416,
      high: 'max',
    },
    { side: 'system', group: 'system.slice', present: false },
  ],
  leases: [
    {
      group: 'user.slice',
      knob: 'memory.low',
      old: '0',
      value: '9663676416',
      by: 'systemd',
    },
    {
      group: 'user.slice',
      knob: 'memory.limit_in_bytes',
      old: '9223372036854771712',
      value: '12884901888',
      by: 'cgroupfs',
    },
    { group: 'user.slice', knob: 'io.weight', old: '100', value: '200', by: 'systemd' },
    {
      group: '/',
      knob: 'io.cost.qos 259:0',
      old: 'enable=0 ctrl=auto',
      value: 'enable=1 ctrl=user rpct=95.00 rlat=2000 wpct=95.00 wlat=10000 min=25.00 max=10000.00',
      by: 'cgroupfs',
    },
  ],
  theirs: [{ side: 'system', knob: 'memory.high', value: 1_073_741_824 }],
  disks: [
    {
      name: 'nvme0n1',
      nvme: true,
      bytes: 512_110_190_592,
      rates: {
        readBytesPerSecond: 1_048_576,
        writtenBytesPerSecond: 0,
        requestsPerSecond: 16,
        latencyMs: 0.14,
        inFlight: 2,
        busy: 0.3,
      },
    },
    { name: 'nvme1n1', nvme: true, bytes: 512_110_190_592 },
  ],
  io: {
    weights: { user: 200, system: 0 },
    cost: false,
    set: [{ group: 'user.slice', knob: 'io.weight', value: '200', state: 'written' }],
    disks: [{ name: 'nvme0n1', by: 'nothing', scheduler: 'none' }],
  },
  space: {
    on: true,
    policy: 'protective',
    sides: [
      {
        side: 'user',
        sizeBytes: 21_474_836_480,
        usedBytes: 20_401_094_656,
        mostBytes: 85_899_345_920,
      },
      { side: 'system', sizeBytes: 10_737_418_240, usedBytes: 0, mostBytes: 42_949_672_960 },
    ],
  },
  remarks: ['the cgroup mount lacks memory_recursiveprot'],
};

const fastPartition: FastPage = {
  name: 'build',
  owner: { uid: 1000, name: 'alice' },
  on: 'ram',
  bytes: 2_147_483_648,
  usedBytes: 536_870_912,
  memoryBytes: 536_870_912,
  path: '/run/persona/fast/build',
  state: 'ready',
  createdMs: nowMs - 90 * minute,
};

export const fastPartitions: FastPage[] = [
  fastPartition,
  { ...fastPartition, name: 'cache', emptiedMs: nowMs - minute, swaps: true },
  {
    ...fastPartition,
    name: 'gone',
    usedBytes: 0,
    memoryBytes: 0,
    state: 'missing',
    problem: 'no \x1b[2J memory',
  },
  {
    ...fastPartition,
    name: 'old',
    on: 'zram',
    memoryBytes: 134_217_728,
    owner: { uid: 31_000 },
    state: 'ending',
  },
  { ...fastPartition, name: 'tables', on: 'nvme', volume: 'user', memoryBytes: 0 },
];

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

export const integrity: Answer<'system.integrity'> = {
  files: [
    {
      file: `layers/${digest('a').replace(':', '-')}.erofs`,
      digest: digest('a'),
      bytes: 196_083_712,
      kind: 'layer',
      bases: ['debian'],
      personas: ['build', 'writing'],
      slots: ['desk'],
      sealed: false,
      state: 'damaged',
      problem: 'its bytes have changed',
      foundMs: nowMs - 3 * minute,
    },
    {
      file: `personas/${digest('b').replace(':', '-')}.osp`,
      digest: digest('b'),
      bytes: 20_971_520,
      kind: 'persona',
      bases: [],
      personas: ['build'],
      slots: ['desk'],
      sealed: true,
      state: 'ok',
      hashedMs: nowMs - 200 * minute,
    },
    {
      file: `personas/${digest('c').replace(':', '-')}.original`,
      digest: digest('c'),
      bytes: 20_971_520,
      kind: 'original',
      bases: [],
      personas: ['writing'],
      slots: [],
      sealed: false,
      state: 'due',
    },
  ],
  written: [
    { kind: 'volume', name: 'user', bytes: 85_899_345_920, mounted: true, errors: 0 },
    {
      ...{ kind: 'enclave', name: 'vault', bytes: 1_073_741_824, mounted: false, errors: 2 },
      problem: 'the kernel has found 2 errors in its file system',
    },
  ],
  looked: { atMs: nowMs - 180 * minute, tookMs: 0.412, files: 3, changed: 1, damaged: 0 },
  scrub: {
    asked: false,
    files: 1,
    filesDone: 0,
    bytes: 20_971_520,
    bytesDone: 5_242_880,
    paused: true,
  },
  nextMs: nowMs + 600 * minute,
  boot: {
    firmware: 'efi',
    secureBoot: true,
    setupMode: false,
    lockdown: 'integrity',
    text: 'secure boot is on; kernel lockdown: integrity',
  },
};

export const seen: Answer<'partitions.history'> = {
  stepMs: 10_000,
  rows: [0, 1, 2, 4, 5].map((at) => ({
    atMs: nowMs - (60 - at * 10) * 1000,
    totalBytes: 17_179_869_184,
    availableBytes: (16 - at) * 1_073_741_824,
    userBytes: at * 1_073_741_824,
    waiting: at / 100,
    diskInFlight: at / 2,
    disks: [
      { name: 'nvme0n1', readBytesPerSecond: at * 1_048_576, latencyMs: 0.1, inFlight: at / 2 },
      { name: 'nvme1n1', readBytesPerSecond: 0, inFlight: 0 },
    ],
  })),
};

export const governed: Answer<'volume.list'>['governed'] = {
  on: true,
  policy: 'threshold',
  obstacle: 'volume system cannot be used',
};

export const volumes: Answer<'volume.list'>['volumes'] = [
  {
    name: 'user',
    state: 'ready',
    at: '/run/persona/volumes/user',
    image: '/var/lib/persona/volumes/user.ext4',
    limitBytes: 85_899_345_920,
    createdMs: nowMs - 60 * minute,
    space: {
      sizeBytes: 21_474_836_480,
      freeBytes: 1_073_741_824,
      ownedBytes: 21_474_840_576,
      missingBytes: 0,
      directIo: true,
      keepsBlocks: true,
    },
  },
  {
    name: 'system',
    state: 'broken',
    problem: 'its image is damaged',
    at: '/run/persona/volumes/system',
    image: '/var/lib/persona/volumes/system.ext4',
    limitBytes: 85_899_345_920,
    createdMs: nowMs - 60 * minute,
  },
];
export const enclave: EnclavePage = {
  name: 'vault',
  owner: { uid: 1000, name: 'alice' },
  bytes: 1_073_741_824,
  type: 'luks2',
  key: 'passphrase',
  state: 'open',
  path: '/run/persona/enclaves/vault',
  createdMs: nowMs - 60 * minute,
  openedMs: nowMs - 5 * minute,
  idleMs: 600_000,
  beforeSleep: true,
  inside: [{ pid: 4712, uid: 1000, command: 'keepass' }],
};

export const closedEnclave: EnclavePage = {
  name: 'tax',
  owner: { uid: 1000 },
  bytes: 16_777_216,
  type: 'fscrypt',
  key: 'file',
  state: 'closed',
  path: '/run/persona/enclaves/tax',
  createdMs: nowMs - 60 * minute,
  inside: [],
};

export const assurance: Assurance = {
  hardware: 'sgx',
  hardwareUsed: false,
  memory: 'not encrypted',
  protection: 'no-execute pages, smep; not here: smap',
  sameUser: 'a program may read the memory of every other one of its user',
  swap: 'none',
  disk: 'aes-256-xts fscrypt v2',
  key: 'aes-256-gcm under argon2id, 64 MiB, 3 passes, 4 lanes',
  keyMemory: 'locked',
  sleep: 'closes it',
  reach: { closed: ['root: the encrypted volume'], open: ['root: every file'] },
};

const entryFile = '/usr/share/applications/firefox-esr.desktop';
const imported = { source: 'imported' as const, dateMs: nowMs - 24 * 60 * minute };
const stated = { source: 'user' as const, confidence: 1, dateMs: nowMs - 60 * minute };

export const apart: NonNullable<Answer<'launch.plan'>['assurance']> = {
  apart: ['files: those of the enclave', 'network: none'],
  granted: ['sound: \x1b[2J it can hear microphones'],
  disk: 'enclave vault: aes-256-xts',
  hardware: 'none',
  hardwareUsed: false,
  memory: 'not encrypted',
  protection: 'no-execute pages, smep; not here: smap',
  sameUser: 'other programs of its user may read its memory',
  swap: 'none',
  landlock: 'not used',
  reach: ['root: everything'],
};

const measured = {
  source: 'measured' as const,
  from: '4 runs',
  confidence: 0.67,
  dateMs: nowMs - 60 * minute,
};
const measuredFacts: ApplicationPage['facts'] = [
  { fact: 'memory', value: 1_610_612_736, ...measured },
  { fact: 'typicalMemory', value: 805_306_368, ...measured },
  { fact: 'processors', value: 0.25, ...measured },
  { fact: 'coldRead', value: 314_572_800, ...measured },
  { fact: 'startTime', value: 2_340, ...measured },
  { fact: 'syncRate', value: 0.9, ...measured },
  {
    fact: 'diskWait',
    value: 0.0042,
    ...measured,
    from: '2 runs on the disk, at most 1.2 MiB written (130 us a page that waits) and 0 B read after the start (120 us) in 10 s',
    confidence: 0.5,
  },
];

export const application: ApplicationPage = {
  id: 'firefox-esr',
  facts: [
    { fact: 'name', value: 'Firefox \x1b[2J', ...imported, from: entryFile, confidence: 0.9 },
    { fact: 'profile', value: 'fast', ...stated, from: 'personactl app set' },
    {
      fact: 'profile',
      value: 'fast',
      ...imported,
      from: '/usr/share/psd/browsers/firefox-esr:1',
      confidence: 0.6,
    },
    { fact: 'memory', value: 2_147_483_648, ...stated, from: 'personactl app set' },
    measuredFacts[0]!,
    { fact: 'lossOk', value: false, ...stated, from: 'personactl app set' },
    {
      fact: 'executables',
      value: ['/usr/bin/firefox-esr', '/usr/bin/firefox'],
      ...imported,
      from: entryFile,
      confidence: 0.9,
    },
    ...measuredFacts.slice(1),
  ],
};

export const explanation: Explanation = {
  id: 'firefox-esr',
  recognised: { by: 'executable', path: '/usr/bin/firefox-esr', package: 'firefox-esr' },
  profile: 'fast',
  rule: 'stated',
  why: 'personactl app set says fast',
  evidence: [
    { fact: 'profile', value: 'fast', ...stated, from: 'personactl app set' },
    {
      fact: 'cache',
      value: '~/.cache/mozilla',
      ...imported,
      from: '/etc/firejail/firefox.profile',
      confidence: 0.5,
    },
  ],
  measured: measuredFacts,
  suggestions: [{ profile: 'secure', why: 'categories of the entry calls it sensitive' }],
  wouldChange: ['`personactl app set firefox-esr --profile PROFILE`'],
  cpu: 'normal',
  memoryBytes: 2_147_483_648,
  served: [
    {
      path: '~/.cache/mozilla',
      holds: 'cache',
      why: '/etc/firejail/firefox.profile: what it holds can be made again',
    },
  ],
  pinned: ['/usr/bin/firefox-esr'],
  kept: { files: 61, bytes: 188_743_680 },
};

export const verifiedApplications: VerifiedApplication[] = [
  {
    app: 'firefox-esr',
    owner: 1000,
    profile: 'fast',
    sinceMs: nowMs - 90_000,
    group: 'user.slice/personad-user-1000/app-firefox-esr-0123456789ab',
    holds: true,
    checks: [
      { name: 'group', state: 'holds', detail: '12 processes' },
      { name: 'weights', state: 'unknown', detail: 'the group has no cpu.weight' },
      { name: 'memory', state: 'holds', detail: 'every process sees ~/.cache from memory' },
    ],
  },
  {
    app: 'keys \x1b[2J',
    owner: 1000,
    profile: 'secure',
    sinceMs: nowMs - 3_600_000,
    group: 'user.slice/personad-user-1000/app-keys-ba9876543210',
    holds: false,
    checks: [
      { name: 'group', state: 'holds', detail: '3 processes' },
      { name: 'weights', state: 'holds', detail: 'as everybody has' },
      { name: 'walls', state: 'fails', detail: 'process 47 has no filter of system calls' },
    ],
  },
];

export const runningApplications: RunningApplication[] = [
  {
    app: 'firefox-esr',
    owner: 1000,
    profile: 'standard',
    rule: 'suggested',
    reason: '/etc/ananicy.d/browsers.rules:3 proposes standard',
    sinceMs: nowMs - 90_000,
    by: 'launch',
    group: 'user.slice/user-1000.slice/app-personad-firefox\\x2desr-0123456789ab.scope',
    memoryBytes: 700_000_000,
  },
  {
    app: 'keepassxc',
    owner: 1000,
    profile: 'standard',
    rule: 'required',
    reason: 'personactl app set requires that it runs apart from everything else',
    sinceMs: nowMs - 3_600_000,
    by: 'found',
    group: 'user.slice/user-1000.slice/user@1000.service/app.slice/app-keepassxc-77.scope',
    violation: 'must be kept apart, and was started past personad; it goes on',
  },
];
