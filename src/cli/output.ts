// What a command prints. stdout: its result, as text or as one JSON object a line; stderr: progress, warnings and errors for people.
import { jsonCode } from './exit-codes.ts';

export interface Output {
  readonly json: boolean;
  line(text: string): void;
  note(text: string): void;
  result(body: Readonly<Record<string, unknown>>, ok?: boolean): void;
  error(message: string, exit: number, hint?: string): void;
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
    result: (body, ok = true) => {
      if (json) out({ v: 1, type: 'result', ok, ...body });
    },
    error: (message, exit, hint) => {
      process.stderr.write(`nearkeep: ${message}\n${hint === undefined ? '' : `  ${hint}\n`}`);
      if (json) out({ v: 1, type: 'error', code: jsonCode(exit), exit, message, ...(hint === undefined ? {} : { hint }) });
    },
  };
}
