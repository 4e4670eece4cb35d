/** What the terminal shows once everything runs. */
import type { Config } from './config.ts';

type Settings = Pick<
  Config,
  'HOST' | 'dataFolder' | 'JWT_SECRET' | 'CLICKHOUSE_URL' | 'REDIS_URL' | 'kafkaBrokers' | 'downstreams'
>;

/** Where things are, and two lines to try. */
export function welcomeText(settings: Settings, port: number): string {
  const host = settings.HOST === '0.0.0.0' || settings.HOST === '::' ? '127.0.0.1' : settings.HOST;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const event = {
    eventId: crypto.randomUUID(),
    eventType: 'item_added',
    timestamp: new Date().toISOString(),
    sessionId: 'session-1',
    storeId: 'store-1',
    data: { productId: 'sku-1', price: 9.99, quantity: 1 },
  };
  const token = settings.JWT_SECRET === undefined ? '' : ' -H "authorization: Bearer $WEIR_TOKEN"';
  return [
    `Weir is listening on ${url}`,
    `  API docs  ${url}/swagger`,
    `  Data      ${settings.dataFolder}`,
    `  Embedded  ${embedded(settings).join(', ') || 'nothing'}`,
    ...servers(settings).map((line) => `  Uses      ${line}`),
    '  Try it:',
    `    curl ${url}/events${token} -H 'content-type: application/json' -d '${JSON.stringify(event)}'`,
    `    curl ${url}/query${token} -d 'SELECT eventType, count() FROM events GROUP BY eventType FORMAT PrettyCompact'`,
    '',
  ].join('\n');
}

function embedded({ CLICKHOUSE_URL, REDIS_URL, kafkaBrokers }: Settings): string[] {
  return [
    ...(CLICKHOUSE_URL === undefined ? ['ClickHouse engine (chDB)'] : []),
    ...(REDIS_URL === undefined ? ['dedupe window'] : []),
    ...(kafkaBrokers.length === 0 ? ['topics'] : []),
  ];
}

/** Hosts only: a URL may hold a password. */
function servers({ CLICKHOUSE_URL, REDIS_URL, kafkaBrokers, downstreams }: Settings): string[] {
  const hostOf = (url: string) => new URL(url.trim()).host;
  return [
    ...(CLICKHOUSE_URL === undefined ? [] : [`ClickHouse at ${CLICKHOUSE_URL.split(',').map(hostOf).join(', ')}`]),
    ...(REDIS_URL === undefined ? [] : [`Redis at ${hostOf(REDIS_URL)}`]),
    ...(kafkaBrokers.length === 0 ? [] : [`Kafka at ${kafkaBrokers.join(', ')}`]),
    ...Object.entries(downstreams).map(([name, { url }]) => `${name} at ${hostOf(url)}`),
  ];
}
