import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startSurveyor } from '../daemon/kernel/survey-child.ts';
import { Catalogue } from '../daemon/profiles/catalogue.ts';
import { Layer } from '../daemon/profiles/layer.ts';
import { readSurvey } from '../daemon/profiles/read-survey.ts';
import type { Survey } from '../daemon/profiles/survey.ts';
import { atMost, type Bar } from './bar.ts';
import type { Ground } from './ground.ts';
import { median, quantile } from './statistics.ts';

/** As many as the largest known collections have: rules in files of some 44, profiles, desktop entries. */
const RULE_FILES = 360;
const RULES_IN_FILE = 44;
const PROFILES = 1_350;
const ENTRIES = 300;
const ALL = RULE_FILES * RULES_IN_FILE + PROFILES + ENTRIES;

const kinds = ['Game', 'BG_CPUIO', 'LowLatency_RT', 'Doc-View'];
const types =
  '{"type":"Game","nice":-5}\n{"type":"BG_CPUIO","nice":16}\n{"type":"LowLatency_RT","nice":-12}\n{"type":"Doc-View","nice":0}\n';
/** The lines that most profiles of firejail have, and folders of their own. */
const profile = (name: string) =>
  `# Firejail profile for ${name}\n# Description: does ${name}\ninclude ${name}.local\ninclude globals.local\n\n` +
  `noblacklist \${HOME}/.config/${name}\nnoblacklist \${HOME}/.cache/${name}\n\ninclude disable-common.inc\ninclude disable-devel.inc\n` +
  `include disable-programs.inc\n\nmkdir \${HOME}/.config/${name}\nwhitelist \${HOME}/.config/${name}\nwhitelist \${DOWNLOADS}\n` +
  'caps.drop all\nnetfilter\nnodvd\nnogroups\nnonewprivs\nnoroot\nnotv\nprotocol unix,inet,inet6\nseccomp\ntracelog\n\n' +
  `disable-mnt\nprivate-bin ${name},bash,sh\nprivate-cache\nprivate-dev\nprivate-tmp\n\ndbus-user none\ndbus-system none\n`;

/** Fills a folder that stands for a machine. */
function fillMachine(machine: string): void {
  const write = (path: string, text: string, mode = 0o644) => {
    mkdirSync(join(machine, path, '..'), { recursive: true });
    writeFileSync(join(machine, path), text, { mode });
  };
  write('etc/ananicy.d/00-types.types', types);
  for (let file = 0; file < RULE_FILES; file += 1) {
    const rules = Array.from({ length: RULES_IN_FILE }, (_, at) =>
      JSON.stringify({ name: `program-${file}-${at}.exe`, type: kinds[at % kinds.length] }),
    );
    write(
      `etc/ananicy.d/00-default/kind-${file % 20}/${file}.rules`,
      `# ${file}\n${rules.join('\n')}\n`,
    );
  }
  for (let at = 0; at < PROFILES; at += 1)
    write(`etc/firejail/tool${at}.profile`, profile(`tool${at}`));
  for (let at = 0; at < ENTRIES; at += 1) {
    write(`usr/bin/tool${at}`, '#!/bin/true\n', 0o755);
    write(
      `usr/share/applications/org.example.Tool${at}.desktop`,
      `[Desktop Entry]\nType=Application\nName=Tool ${at}\nExec=tool${at} %U\nCategories=Utility;\n`,
    );
  }
}

async function survey(machine: string): Promise<Survey> {
  const task = {
    machine,
    share: join(machine, 'share'),
    etc: join(machine, 'etc'),
    owner: 0,
    paths: [],
  };
  const caller = { uid: 65_531, gid: 65_531, groups: [] };
  return await readSurvey(await startSurveyor({ caller, ...task }, 60_000), ['imported', 'admin']);
}

/** Microseconds of each look-up: of a program by its file, with all that is said of its application. */
function lookUps({ fragments, programs }: Survey, rounds: number): number[] {
  const catalogue = new Catalogue([new Layer(fragments, programs)]);
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1)
    for (const program of programs) {
      const began = process.hrtime.bigint();
      const { recognised } = catalogue.find(program, () => undefined);
      times.push(Number(process.hrtime.bigint() - began) / 1000);
      if (recognised.by !== 'executable') throw new Error(`${program.path} was not found`);
    }
  return times;
}

/** What is known of applications, with as many entries as the largest collections have: look-up, and import by a running daemon. */
export async function catalogueBars({ root, client }: Ground, quick: boolean): Promise<Bar[]> {
  const machine = join(root, 'machine');
  fillMachine(machine);
  try {
    const found = await survey(machine);
    if (found.fragments.length !== ALL)
      throw new Error(`${found.fragments.length} of ${ALL} entries were imported`);
    const times = lookUps(found, quick ? 3 : 20);
    const imports: number[] = [];
    for (let round = 0; round < (quick ? 2 : 5); round += 1) {
      const began = performance.now();
      await client.call('app.import', {});
      imports.push(performance.now() - began);
    }
    return [
      atMost(`look-up in ${ALL} imported entries`, median(times), 'us', 50, times.length, {
        p99: quantile(times, 0.99),
      }),
      atMost(`import of ${ALL} entries`, median(imports), 'ms', 1000, imports.length),
    ];
  } finally {
    rmSync(machine, { recursive: true, force: true });
  }
}
