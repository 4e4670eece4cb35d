/** The part `many` of the bench: its text. */
import { type ManyRun, measureMany } from './many.ts';
import type { Part } from './part.ts';
import type { CpuUse } from './processes.ts';
import { count, fixed } from './report.ts';

const MIB = 1024 * 1024;

export const manyPart: Part<ManyRun> = {
  name: 'many',
  what: 'WebSockets by the ten thousand on several accept processes, with Redis',
  set: 'full',
  seconds: ({ manySockets, manyEverySeconds }) => 45 + manySockets / 1_000 + 2 * manyEverySeconds,
  measure: measureMany,
  text,
};

function text(run: ManyRun): string {
  const { sockets, workers, memory, idle, load, restart } = run;
  const { attempts, probe } = restart;
  return [
    `${count(sockets)} WebSockets on ${workers} accept processes, which may each have ${count(run.descriptorsMax)} files open`,
    `  connected         in ${fixed(run.connectSeconds, 1)} s; ${coresText(run.connectCpu)}`,
    `  memory            ${fixed(memory.bytesPerSocket / 1024, 1)} KB each while idle, ${fixed(memory.bytesPerSocketUsed / 1024, 1)} KB once they have sent; accept processes before: ${fixed(memory.rssBytesBefore / MIB, 0)} MiB`,
    `  idle              a heartbeat every ${idle.heartbeatSeconds} s from each: ${coresText(idle.cpu)}`,
    `  an event from each every ${load.everySeconds} s, for ${load.seconds} s`,
    `    acknowledged    ${count(load.eventsPerSecond)} events/s; p50 ${fixed(load.latency.p50Ms, 1)} ms, p99 ${fixed(load.latency.p99Ms, 1)} ms, most ${fixed(load.latency.maxMs, 0)} ms; ${coresText(load.cpu)}`,
    `    per connection  ${load.acks.min} / ${load.acks.median} / ${load.acks.max} answers (fewest, median, most); ${count(load.starved)} got none; ${count(load.skipped)} turns came before the last answer, ${count(load.unanswered)} events were never answered`,
    `  SIGTERM and restart: ended after ${fixed(restart.endedSeconds, 1)} s, taking connections after ${fixed(restart.acceptingSeconds, 1)} s, all back after ${fixed(restart.backSeconds, 1)} s`,
    `    handshakes      ${count(attempts.opened)}; refused ${count(attempts.refused)}, answered with an error ${count(attempts.rejected)}, without an answer ${count(attempts.timedOut)}; ${count(attempts.invited)} came when they were told to`,
    `    accept          ${fixed(restart.cpuSeconds, 1)} s of CPU until all were back, its start included`,
    `    others          POST /events on a new connection meanwhile: p50 ${fixed(probe.latency.p50Ms, 1)} ms, p99 ${fixed(probe.latency.p99Ms, 1)} ms, most ${fixed(probe.latency.maxMs, 0)} ms of ${count(probe.latency.count)}; ${count(probe.failures)} failed`,
  ].join('\n');
}

function coresText({ seconds, cpuSeconds }: CpuUse): string {
  const accepts = Object.entries(cpuSeconds).filter(([name]) => name.startsWith('accept'));
  const sum = accepts.reduce((total, [, one]) => total + one, 0);
  return `accept processes ${fixed(sum / seconds, 2)} cores together`;
}
