// pino behind the Logger port: JSON lines, or plain text for people. Secrets never reach it: callers log no headers, and a URL
// only without user info and query.
import { Writable } from 'node:stream';
import { pino, type Logger as PinoLogger } from 'pino';
import type { Config } from './config.ts';

/** `auto`: text on a terminal, else JSON. */
export function createLogger(config: Pick<Config, 'log_format' | 'log_level'>, output: NodeJS.WriteStream): PinoLogger {
  const asText = config.log_format === 'text' || (config.log_format === 'auto' && output.isTTY);
  const options = {
    level: config.log_level,
    base: null,
    redact: { paths: ['api_key', 'apiKey', '*.api_key', '*.apiKey', 'headers', '*.headers', 'authorization'], censor: '[redacted]' },
  };
  return asText ? pino(options, textStream(output)) : pino(options, output);
}

const levelNames: Readonly<Record<number, string>> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'fatal' };

function textStream(output: NodeJS.WriteStream): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const { level, time, msg, ...fields } = JSON.parse(chunk.toString('utf8')) as { level: number; time: number; msg?: string };
      const details = Object.entries(fields).map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join('');
      output.write(`${new Date(time).toISOString()} ${levelNames[level] ?? level} ${msg ?? ''}${details}\n`, done);
    },
  });
}
