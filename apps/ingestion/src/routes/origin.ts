/** What a request says about where its events come from. */
import { clientAddressOf } from '@libs/elysia-server';
import type { Origin } from '@libs/pipeline';

/**
 * The origin of a request's events. Asking Bun for the address costs 0.65 µs, a good part of what an event may cost:
 * it is only asked when an event lacks it, and once a request.
 */
export function originOf(request: Request, requestId: string): Origin {
  // The optional fields of an origin are absent or a string; a getter can only say undefined.
  return new RequestOrigin(request, requestId) as Origin;
}

class RequestOrigin {
  readonly requestId: string;
  readonly #request: Request;
  #isAsked = false;
  #address: string | undefined;

  constructor(request: Request, requestId: string) {
    this.#request = request;
    this.requestId = requestId;
  }

  get ipAddress(): string | undefined {
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#address = clientAddressOf(this.#request);
    }
    return this.#address;
  }

  get userAgent(): string | undefined {
    return this.#request.headers.get('user-agent') ?? undefined;
  }

  get referrer(): string | undefined {
    return this.#request.headers.get('referer') ?? undefined;
  }
}
