/**
 * Counts the sync calls of another process's main thread, by file, with the kernel's own tracing interface (ptrace).
 * SQLite is compiled into Bun and cannot be given a file layer of ours, and its settings only say what it should do.
 * Linux on x64 and arm64; the traced process must be a child of this one.
 */
import { dlopen, FFIType, ptr } from 'bun:ffi';
import { readlinkSync } from 'node:fs';

const PTRACE = { DETACH: 17, SYSCALL: 24, SEIZE: 0x4206, INTERRUPT: 0x4207, GET_SYSCALL_INFO: 0x420e };
/** A stop at a system call is told apart from a SIGTRAP by this bit. */
const TRACESYSGOOD = 1;
const SYSCALL_STOP = 0x80 | 5;
const SIGTRAP = 5;
const EVENT_STOP = 128;
/** Wait for threads of any kind. */
const WALL = 0x40000000;
const ENTRY = 1;
const INFO_BYTES = 88;

/** Numbers of fsync and fdatasync, and of kill. */
const CALLS: Readonly<Record<string, { readonly sync: readonly number[]; readonly kill: number }>> = {
  x64: { sync: [74, 75], kill: 62 },
  arm64: { sync: [82, 83], kill: 129 },
};

/** Why syncs cannot be counted here; undefined when they can. */
export function cannotTrace(): string | undefined {
  if (process.platform !== 'linux') return `there is no ptrace on ${process.platform}`;
  return CALLS[process.arch] === undefined ? `the system calls of ${process.arch} are not known here` : undefined;
}

function openLibc() {
  return dlopen('libc.so.6', {
    ptrace: { args: [FFIType.i64, FFIType.i64, FFIType.u64, FFIType.u64], returns: FFIType.i64 },
    waitpid: { args: [FFIType.i32, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
  }).symbols;
}

/**
 * Calls `begin` once the process is traced, then counts until the process sends a signal (which is how it says that it
 * is done; it should be SIGKILL to itself). Returns the number of fsync and fdatasync calls by the path of the file.
 * Blocks this thread meanwhile. Returns a reason instead when the kernel does not allow it (a sandbox may forbid it);
 * then `begin` was not called. Throws when the process ends without a signal.
 */
export function countSyncs(pid: number, begin: () => void): Map<string, number> | string {
  const libc = openLibc();
  const calls = CALLS[process.arch];
  const status = new Int32Array(1);
  const info = new DataView(new ArrayBuffer(INFO_BYTES));
  const counts = new Map<string, number>();

  function trace(request: number, address: number, data: number): number {
    return Number(libc.ptrace(request, pid, address, data));
  }

  /** The number of the call that is about to be made; undefined when the stop is a return from one. */
  function enteredCall(): number | undefined {
    trace(PTRACE.GET_SYSCALL_INFO, INFO_BYTES, ptr(new Uint8Array(info.buffer)));
    return info.getUint8(0) === ENTRY ? Number(info.getBigUint64(24, true)) : undefined;
  }

  function noteSync(): void {
    const file = readlinkSync(`/proc/${pid}/fd/${info.getBigUint64(32, true)}`);
    counts.set(file, (counts.get(file) ?? 0) + 1);
  }

  if (trace(PTRACE.SEIZE, 0, TRACESYSGOOD) !== 0) return 'the kernel does not let us trace a child';
  trace(PTRACE.INTERRUPT, 0, 0);
  let begun = false;
  for (;;) {
    if (libc.waitpid(pid, ptr(status), WALL) !== pid) throw new Error(`process ${pid} cannot be waited for`);
    const word = status[0] as number;
    const isStopped = (word & 0xff) === 0x7f;
    if (!isStopped) throw new Error(`process ${pid} ended before it was done`);
    const signal = (word >> 8) & 0xff;
    const call = signal === SYSCALL_STOP ? enteredCall() : undefined;
    if (call !== undefined && call === calls?.kill) {
      trace(PTRACE.DETACH, 0, 0);
      return counts;
    }
    if (call !== undefined && calls?.sync.includes(call)) noteSync();
    if (!begun) begin();
    begun = true;
    const isOwnStop = signal === SYSCALL_STOP || signal === SIGTRAP || word >> 16 === EVENT_STOP;
    trace(PTRACE.SYSCALL, 0, isOwnStop ? 0 : signal);
  }
}
