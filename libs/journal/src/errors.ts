/** Why a journal cannot be opened. The message is a sentence for the operator. */
export class JournalRefusal extends Error {
  /** `damaged`, `newer_format`, `secret_missing`, `secret_mismatch`, `two_journals`, `no_space`. */
  readonly code: string;
  readonly file: string;
  /** Byte offset in the file, where it applies. */
  readonly offset: number | undefined;
  constructor(code: string, file: string, offset: number | undefined, message: string) {
    super(message);
    this.name = 'JournalRefusal';
    this.code = code;
    this.file = file;
    this.offset = offset;
  }
}

export function damaged(file: string, offset: number, what: string): JournalRefusal {
  return new JournalRefusal(
    'damaged',
    file,
    offset,
    `The journal is damaged: ${file}, byte ${offset}: ${what}. Nothing was changed; run "weir doctor" to see the choices.`,
  );
}

export function newerFormat(file: string): JournalRefusal {
  return new JournalRefusal(
    'newer_format',
    file,
    8,
    `${file} was written by a newer version of Weir: run that version.`,
  );
}

/** A reader was asked for frames that are not there: `before_oldest` or `beyond_end`. */
export class JournalGapError extends Error {
  readonly kind: 'before_oldest' | 'beyond_end';
  constructor(kind: 'before_oldest' | 'beyond_end', message: string) {
    super(message);
    this.name = 'JournalGapError';
    this.kind = kind;
  }
}
