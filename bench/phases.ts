// The phases of a long run: each is bounded in time, watched (memory and CPU of a process, disk use of a folder), and written down the
// moment it ends, so that a failure late in the run loses nothing of what came before.
import { appendFileSync, mkdirSync, promises as fs, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const watchMs = 2_000;
const tellMs = 10_000;

export interface Watched {
  /** Of the process that works; it changes with a restart. */
  readonly pid: number;
  readonly folder: string;
}

export interface Phase {
  readonly name: string;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakResidentBytes: number;
  readonly residentBytes: number;
  readonly peakDiskBytes: number;
  readonly diskBytes: number;
  readonly facts: Readonly<Record<string, number | string>>;
  readonly error?: string;
}

export interface PhaseTools {
  /** Shown in the next line of progress. */
  readonly progress: (text: string) => void;
  /** Aborted when the phase's time is over. */
  readonly signal: AbortSignal;
}

export class PhaseLog {
  readonly #files: { readonly lines: string; readonly text: string };
  readonly #watched: () => Watched;
  readonly #secondsMax: number;
  readonly #started = performance.now();

  /** Two new files in `folder`: `<name>.jsonl` for machines, `<name>.txt` for people. `head` opens both. */
  constructor(folder: string, name: string, options: { readonly head: Readonly<Record<string, unknown>>; readonly secondsMax: number; readonly watched: () => Watched }) {
    mkdirSync(folder, { recursive: true });
    this.#files = { lines: path.join(folder, `${name}.jsonl`), text: path.join(folder, `${name}.txt`) };
    this.#watched = options.watched;
    this.#secondsMax = options.secondsMax;
    writeFileSync(this.#files.lines, `${JSON.stringify(options.head)}\n`);
    writeFileSync(this.#files.text, `${Object.entries(options.head).map(([key, value]) => `${key}: ${String(value)}`).join('\n')}\n\n`);
    this.tell(`results go to ${this.#files.lines} and .txt`);
  }

  /** A line on stderr with the time since the start. */
  tell(text: string): void {
    process.stderr.write(`[${((performance.now() - this.#started) / 1000).toFixed(0).padStart(6)} s] ${text}\n`);
  }

  /** Runs and notes one phase. @throws what `work` threw, after it was noted */
  async run(name: string, work: (tools: PhaseTools) => Promise<Readonly<Record<string, number | string>>>): Promise<Phase> {
    const over = AbortSignal.timeout(this.#secondsMax * 1000);
    let shown = '';
    const watch = new Watch(this.#watched, (state) => {
      this.tell(`${name}: ${shown === '' ? 'at work' : shown}; ${state}`);
    });
    this.tell(`${name} begins`);
    const started = performance.now();
    const ended = await Promise.race([
      work({ progress: (text) => { shown = text; }, signal: over }).then((facts) => ({ facts }), (error: unknown) => ({ error })),
      new Promise<{ readonly error: unknown }>((resolve) => {
        over.addEventListener('abort', () => { resolve({ error: new RangeError(`it took longer than ${this.#secondsMax} s`) }); });
      }),
    ]);
    const seconds = (performance.now() - started) / 1000;
    const phase: Phase = {
      name, seconds, ...(await watch.stop()), facts: 'facts' in ended ? ended.facts : {},
      ...('error' in ended ? { error: ended.error instanceof Error ? ended.error.message : String(ended.error) } : {}),
    };
    this.#note(phase);
    if ('error' in ended) throw ended.error;
    return phase;
  }

  #note(phase: Phase): void {
    const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
    const facts = Object.entries(phase.facts).map(([key, value]) => `${key} ${typeof value === 'number' ? Number(value.toFixed(3)) : value}`).join(', ');
    const text = `${phase.name}: ${phase.seconds.toFixed(1)} s, CPU ${phase.cpuSeconds.toFixed(1)} s; memory ${mb(phase.residentBytes)}, peak ${mb(phase.peakResidentBytes)}; `
      + `disk ${mb(phase.diskBytes)}, peak ${mb(phase.peakDiskBytes)}${facts === '' ? '' : `; ${facts}`}${phase.error === undefined ? '' : `; FAILED: ${phase.error}`}`;
    appendFileSync(this.#files.lines, `${JSON.stringify(phase)}\n`);
    appendFileSync(this.#files.text, `${text}\n`);
    this.tell(text);
  }
}

/** Looks at process and folder now and then; the peak of memory is the kernel's own, set back at the start. */
class Watch {
  readonly #watched: () => Watched;
  readonly #tell: (state: string) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #cpuAtStart: number;
  #pid: number;
  #cpuOfOthers = 0;
  #lastCpu: number;
  #peakResident = 0;
  #peakDisk = 0;
  #lastTold = performance.now();
  #looking: Promise<void> = Promise.resolve();

  constructor(watched: () => Watched, tell: (state: string) => void) {
    this.#watched = watched;
    this.#tell = tell;
    this.#pid = watched().pid;
    resetPeak(this.#pid);
    this.#cpuAtStart = cpuSecondsOf(this.#pid);
    this.#lastCpu = this.#cpuAtStart;
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(async () => {
        await this.#look();
      });
    }, watchMs);
  }

  async stop(): Promise<Omit<Phase, 'name' | 'seconds' | 'facts'>> {
    clearInterval(this.#timer);
    await this.#looking;
    const { resident, disk } = await this.#look();
    return {
      cpuSeconds: this.#cpuOfOthers + this.#lastCpu - this.#cpuAtStart,
      residentBytes: resident, peakResidentBytes: this.#peakResident, diskBytes: disk, peakDiskBytes: this.#peakDisk,
    };
  }

  async #look(): Promise<{ readonly resident: number; readonly disk: number }> {
    const { pid, folder } = this.#watched();
    if (pid !== this.#pid) {
      this.#cpuOfOthers += this.#lastCpu;
      this.#pid = pid;
      this.#lastCpu = 0;
    }
    this.#lastCpu = Math.max(this.#lastCpu, cpuSecondsOf(pid));
    const { resident, peak } = memoryOf(pid);
    const disk = await diskBytesOf(folder);
    this.#peakResident = Math.max(this.#peakResident, peak);
    this.#peakDisk = Math.max(this.#peakDisk, disk);
    if (performance.now() - this.#lastTold > tellMs) {
      this.#lastTold = performance.now();
      this.#tell(`memory ${(resident / 1e6).toFixed(0)} MB, disk ${(disk / 1e6).toFixed(0)} MB`);
    }
    return { resident, disk };
  }
}

/** A process that has just ended has none of these. */
function procText(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}

function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // a kernel that forbids it: the peak is that since the start of the process
  }
}

function memoryOf(pid: number): { readonly resident: number; readonly peak: number } {
  const text = procText(pid, 'status');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return { resident: of('VmRSS'), peak: of('VmHWM') };
}

function cpuSecondsOf(pid: number): number {
  const fields = procText(pid, 'stat').replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100 || 0;
}

/** Blocks in use; what is linked several times counts once. */
async function diskBytesOf(folder: string): Promise<number> {
  const seen = new Set<number>();
  let bytes = 0;
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []); // files come and go meanwhile
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const stats = await fs.stat(path.join(entry.parentPath, entry.name)).catch(() => undefined);
    if (stats === undefined || seen.has(stats.ino)) continue;
    seen.add(stats.ino);
    bytes += stats.blocks * 512;
  }
  return bytes;
}
