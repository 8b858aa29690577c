/** What the package's first door hands on of the Kafka adapter. */
export { type KafkaCodec, type KafkaCodecName, registerKafkaCodec } from '../adapters/kafka-codecs.ts';
