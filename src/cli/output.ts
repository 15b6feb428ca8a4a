// What a command prints. stdout: its result, as text or as one JSON object a line; stderr: progress, warnings and errors for people.
// With --json the last line is one `result`, where the command did what it was asked, or one `error`; before it only progress.
import { jsonCode } from './exit-codes.ts';
import { sizeText } from './size-text.ts';

const barWidth = 24;
const progressMs = 100;

export interface Output {
  readonly json: boolean;
  line(text: string): void;
  note(text: string): void;
  /** Of a success; as JSON only. */
  result(body: Readonly<Record<string, unknown>>): void;
  error(message: string, exit: number, more?: { readonly hint?: string; readonly details?: Readonly<Record<string, unknown>> }): void;
  /** How far something is. For people a bar on stderr, where that is a terminal; with --json a line. */
  progress(done: Progress): void;
}

interface Progress {
  readonly what: string;
  readonly bytes: number;
  readonly totalBytes?: number;
}

export function createOutput(json: boolean): Output {
  const out = (value: unknown): void => {
    process.stdout.write(`${JSON.stringify(value)}\n`);
  };
  return {
    json,
    line: (text) => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    note: (text) => {
      process.stderr.write(`${text}\n`);
    },
    result: (body) => {
      if (json) out({ v: 1, type: 'result', ok: true, ...body });
    },
    progress: createProgress(json, out),
    error: (message, exit, more = {}) => {
      process.stderr.write(`nearkeep: ${message}\n${more.hint === undefined ? '' : `  ${more.hint}\n`}`);
      if (json) out({ v: 1, type: 'error', code: jsonCode(exit), exit, message, ...more });
    },
  };
}

/** At most ten a second, and always one at the end. */
function createProgress(json: boolean, out: (value: unknown) => void): Output['progress'] {
  const isTerminal = process.stderr.isTTY;
  let [startMs, lastMs] = [performance.now(), -Infinity];
  return ({ what, bytes, totalBytes }) => {
    const now = performance.now();
    if (bytes === 0) startMs = now;
    const isEnd = bytes === totalBytes;
    if (!isEnd && now - lastMs < progressMs) return;
    lastMs = now;
    const rate = bytes / Math.max(0.001, (now - startMs) / 1000);
    const eta = totalBytes === undefined || rate === 0 ? undefined : (totalBytes - bytes) / rate;
    if (json) out({ v: 1, type: 'progress', what, bytes, ...(totalBytes === undefined ? {} : { total: totalBytes }), ...(eta === undefined ? {} : { eta_s: Math.round(eta * 10) / 10 }) });
    if (isTerminal) process.stderr.write(`\r${barText({ what, bytes, ...(totalBytes === undefined ? {} : { totalBytes }) }, rate)}\u001b[K${isEnd ? '\n' : ''}`);
  };
}

function barText({ what, bytes, totalBytes }: Progress, rate: number): string {
  const speed = `${sizeText(rate)}/s`;
  if (totalBytes === undefined || totalBytes === 0) return `${what}  ${sizeText(bytes)}  ${speed}`;
  const filled = Math.round((bytes / totalBytes) * barWidth);
  return `${what}  ${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${Math.floor((bytes / totalBytes) * 100)}%  ${sizeText(bytes)} of ${sizeText(totalBytes)}  ${speed}`;
}
