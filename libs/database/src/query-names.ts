/** What a read-only query may name. Everything is in lower case. */

/** The first word of a statement. */
export const STATEMENTS = new Set(['select', 'with', 'show', 'describe', 'desc', 'explain', 'exists']);

/** What may follow SHOW. */
export const SHOWABLE = new Set(
  'tables databases columns fields create index indexes indices keys functions settings engines full extended'.split(
    ' ',
  ),
);

/** What may not follow SHOW CREATE: accounts and their rights, and definitions that hold passwords. */
export const CREATE_HIDDEN = new Set(
  'user users role roles profile profiles settings quota quotas row policy policies masking named dictionary access function'.split(
    ' ',
  ),
);

/** What may stand between EXPLAIN and the query, besides `name = number`. */
export const EXPLAIN_WORDS = new Set('ast syntax plan pipeline estimate query tree'.split(' '));

/** Table functions that make rows out of nothing, or out of the query itself. */
export const TABLE_FUNCTIONS = new Set(
  'numbers numbers_mt zeros zeros_mt primes generaterandom generateseries generate_series values view format null'.split(
    ' ',
  ),
);

/**
 * Table functions known to leave the database, for the case that the engine's own list (which is asked at run time)
 * is not complete: some are built in only on some platforms.
 */
export const FOREIGN_TABLE_FUNCTIONS =
  'file url s3 gcs oss cosn hdfs azureblobstorage remote remotesecure cluster clusterallreplicas mysql postgresql sqlite mongodb redis odbc jdbc executable input dictionary merge loop eval python filesystem iceberg deltalake hudi paimon arrowflight ytsaurus urlcluster filecluster s3cluster hdfscluster prometheusquery viewexplain viewifpermitted mergetreeindex fuzzquery fuzzjson'.split(
    ' ',
  );

/** Functions that read files, reach the network or other tables' engines, write logs, or only occupy a thread. */
const FUNCTIONS = new Set(
  'file catboostevaluate evalmlmethod joinget joingetornull sleep sleepeachrow logtrace showcertificate addresstoline addresstolinewithinlines addresstosymbol demangle getmacro getserverport getserversetting getclienthttpheader generateserialid serveruuid'.split(
    ' ',
  ),
);
/** Families: dictionaries, models, and the functions that call an AI provider over the network. */
const FUNCTION_FAMILIES = /^(?:dict(?:get|has|isin)|naivebayes|ai(?:classify|extract|generate|translate|embed))/;

export function isForbiddenFunction(lower: string): boolean {
  return FUNCTIONS.has(lower) || FUNCTION_FAMILIES.test(lower);
}

/** Tables of `system` that describe the schema and the engine, and nobody's queries, files or accounts. */
export const SYSTEM_TABLES = new Set(
  'aggregate_function_combinators build_options codecs collations columns constraints contributors data_skipping_index_types data_skipping_indices data_type_families database_engines databases documentation events formats functions keywords licenses merge_tree_settings metrics asynchronous_metrics numbers numbers_mt one parts settings table_engines table_functions tables time_zones zeros zeros_mt'.split(
    ' ',
  ),
);

/** Those of them with columns that hold paths of this machine: the columns are refused, and so is `*`. */
export const SYSTEM_TABLES_WITH_PATHS = new Set(['databases', 'tables', 'parts']);
export const PATH_COLUMNS = new Set(['data_path', 'data_paths', 'metadata_path', 'path']);

/**
 * Settings that a query may set: they change what the answer looks like or how it is computed, not what it may reach.
 * `output_format_schema` names a file to write, and `…_avro_confluent_…` belongs to a registry on the network.
 */
export const FREE_SETTINGS =
  /^(?:output_format_(?!schema$|avro_confluent)\w+|format_(?:csv|tsv|custom|pretty)_\w+|date_time_(?:in|out)put_format|bool_(?:true|false)_representation|cast_\w+|join_use_nulls|joined_subquery_requires_alias|any_join_distinct_right_table_keys|prefer_column_name_to_alias|session_timezone|extremes|totals_mode|transform_null_in|data_type_default_nullable|union_default_mode|group_by_use_nulls|aggregate_functions_null_for_empty|enable_analyzer|optimize_\w+|result_overflow_mode|read_overflow_mode|timeout_overflow_mode|final|use_query_condition_cache|use_skip_indexes)$/;
