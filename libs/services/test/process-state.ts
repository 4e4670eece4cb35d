import { readFileSync } from 'node:fs';

/** The letter of proc_pid_stat(5), such as S (sleeping) or T (stopped); undefined: gone, or only its exit code is left. */
export function processState(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state === 'Z' || state === 'X' ? undefined : state;
  } catch {
    return undefined; // no such process: the file is the question
  }
}
