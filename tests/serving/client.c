/* Runs an exported model through TensorFlow's C API alone: files in, numbers out.
 *
 *   client MODEL_DIR INPUT OUTPUT[,OUTPUT...] FILE...
 *
 * INPUT and OUTPUT are tensors of the graph (name:index), as `saved_model_cli show` prints them. All files
 * go in one batch; every output is printed on a line of its own, int32 or float32.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MAX_OUTPUTS 8

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static TF_Output find(TF_Graph* graph, const char* tensor) {
  char name[256];
  snprintf(name, sizeof name, "%s", tensor);
  char* colon = strrchr(name, ':');
  TF_Output output = {NULL, colon ? atoi(colon + 1) : 0};
  if (colon) *colon = '\0';
  output.oper = TF_GraphOperationByName(graph, name);
  if (!output.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

static void read_file(const char* path, TF_TString* contents) {
  FILE* file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  TF_TString_Init(contents);
  char* bytes = TF_TString_ResizeUninitialized(contents, size);
  if (fread(bytes, 1, size, file) != size) {
    perror(path);
    exit(1);
  }
  fclose(file);
}

static void print(const TF_Tensor* tensor) {
  const void* data = TF_TensorData(tensor);
  int64_t count = TF_TensorElementCount(tensor);
  for (int64_t i = 0; i < count; ++i) {
    if (TF_TensorType(tensor) == TF_INT32)
      printf("%d ", ((const int*)data)[i]);
    else
      printf("%.9g ", ((const float*)data)[i]);
  }
  printf("\n");
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: client MODEL_DIR INPUT OUTPUT[,OUTPUT...] FILE...\n");
    return 2;
  }
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "loading");

  int64_t batch = argc - 4;
  TF_Tensor* files = TF_AllocateTensor(TF_STRING, &batch, 1, (size_t)batch * sizeof(TF_TString));
  for (int64_t i = 0; i < batch; ++i) read_file(argv[4 + i], (TF_TString*)TF_TensorData(files) + i);

  TF_Output input = find(graph, argv[2]), outputs[MAX_OUTPUTS];
  TF_Tensor* results[MAX_OUTPUTS];
  int count = 0;
  for (char* name = strtok(argv[3], ","); name && count < MAX_OUTPUTS; name = strtok(NULL, ","))
    outputs[count++] = find(graph, name);
  TF_SessionRun(session, NULL, &input, &files, 1, outputs, results, count, NULL, 0, NULL, status);
  check(status, "running");

  for (int i = 0; i < count; ++i) {
    print(results[i]);
    TF_DeleteTensor(results[i]);
  }
  TF_DeleteTensor(files);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
