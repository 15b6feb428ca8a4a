// Whether another process is still there.
import { systemCode } from './errors.ts';

/** Whether there is a process of that id. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
    throw error;
  }
}
