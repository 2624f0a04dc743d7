/* ThreadSanitizer builds: calling this links tsan_threads.c in. Internal to common/net/kafka. */
#ifndef TEL_NET_KAFKA_TSAN_THREADS_H
#define TEL_NET_KAFKA_TSAN_THREADS_H

void tel_kafka_tsan_threads(void);

#endif
