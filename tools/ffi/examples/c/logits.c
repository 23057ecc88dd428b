// The logits behind some fixed tokens, bit by bit: `logits MODEL.gguf`. Every CPU prints the same; the tests compare.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qwip.h"

static void check(qwip_status status) {
  if (status == QWIP_STATUS_OK) return;
  char *message = NULL;
  qwip_last_error(&message);
  fprintf(stderr, "%s: %s\n", qwip_status_name(status), message ? message : "");
  exit(1);
}

int main(int count, char **arguments) {
  qwip_model *model;
  qwip_session *session;
  size_t vocab = 0;
  if (count != 2) return fprintf(stderr, "usage: logits MODEL.gguf\n"), 2;
  check(qwip_model_new(&model));
  check(qwip_model_set_threads(model, 2));
  check(qwip_model_open_path(model, arguments[1]));
  check(qwip_model_load(model));
  check(qwip_session_new(model, &session));
  for (uint32_t step = 0; step < 10; step++) {
    // A prompt of 70 tokens, then one at a time, then seven at once.
    uint32_t tokens[70];
    size_t many = step == 0 ? 70 : step == 9 ? 7 : 1;
    for (uint32_t i = 0; i < many; i++) tokens[i] = (step * 31 + i * 7 + i * i) % 200;
    check(qwip_session_decode(session, tokens, many));
    // Asked without room, it says how many there are.
    check(qwip_session_logits(session, NULL, 0, &vocab));
    float *logits = (float *)malloc(vocab * sizeof *logits);
    if (!logits) return 1;
    check(qwip_session_logits(session, logits, vocab, &vocab));
    uint64_t hash = 14695981039346656037u;
    printf("%u:", step);
    for (size_t i = 0; i < vocab; i++) {
      uint32_t bits;
      memcpy(&bits, &logits[i], sizeof bits);
      if (i < 4) printf(" %08x", bits);
      for (int byte = 0; byte < 4; byte++) hash = (hash ^ (bits >> byte * 8 & 255)) * 1099511628211u;
    }
    printf(" .. %016llx of %zu\n", (unsigned long long)hash, vocab);
    free(logits);
  }
  check(qwip_session_free(session));
  check(qwip_model_free(model));
  return 0;
}
