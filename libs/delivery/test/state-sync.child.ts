/** Waits for a line on standard input, then delivers a given number of blocks through a state database, and ends. */
import { openState } from '../src/state.ts';

const [file, blocks] = process.argv.slice(2);
if (file === undefined || blocks === undefined) throw new Error('a file and a number of blocks are needed');
const state = openState(file);
state.createCursor({ journal: 'j', sink: 'store', seq: 0 });
process.stdout.write('ready\n');
for await (const _line of console) break;
for (let seq = 1; seq <= Number(blocks); seq++) {
  const block = { journal: 'j', sink: 'store', firstSeq: seq, lastSeq: seq, byteLength: 1, token: `t${seq}` };
  state.cutBlock(block);
  state.finishBlock(block, [{ minute: 1, storeId: 's', eventType: 't', count: 1 }], 0);
}
// Without closing: a close would sync once more.
process.kill(process.pid, 'SIGKILL');
