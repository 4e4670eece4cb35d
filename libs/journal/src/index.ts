export type { JournalState } from './state.ts';
